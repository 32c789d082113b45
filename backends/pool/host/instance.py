"""Runs on hosts: one Python instance, and the zygote that forks them.

A service is a module. ``serve(listener, context)`` is its only duty: it serves the listening socket until
``context.stopping`` is set. It may have ``warm()`` (once, in the zygote, after the import), ``ready()`` (raises if
the instance cannot serve), ``activate(context)`` (before the first request) and ``save(context)`` (bytes for
the instance that follows). ``with context.request():`` counts what is in flight.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Context:
    """What a service knows of its instance; ``state`` is what the one before it has saved, b"" for nothing."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.tenant, self.address, self.port = order["tenant"], order["address"], order["port"]
        self.state = b""
        if order.get("state"):
            with open(order["state"], "rb") as file:
                self.state = file.read()
            if hashlib.sha256(self.state).hexdigest() != order["digest"]:
                raise ValueError("the state that is handed over is not what was saved")
        self.stopping = threading.Event()
        self.in_flight = self.served = 0
        self._lock = threading.Condition()

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request, from its beginning to its answer."""
        with self._lock:
            self.in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self.in_flight -= 1
                self.served += 1
                self._lock.notify_all()

    def idle(self, seconds: float) -> bool:
        """Wait until nothing is in flight; whether that came true in time."""
        with self._lock:
            return self._lock.wait_for(lambda: not self.in_flight, seconds)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent is gone, also while frozen."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def load(folder: str) -> Any:
    """The service's module, imported and warmed."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    if config["path"]:
        sys.path.insert(0, config["path"])
    service = importlib.import_module(config["service"])
    getattr(service, "warm", lambda: None)()
    return service


def zygote(folder: str) -> None:
    """Import once, then fork an instance for every id that is read."""
    die_with_parent(os.getppid())
    began = time.time()
    service = load(folder)
    gc.freeze()
    # children are nobody's business here: the supervisor sees them end
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(json.dumps({"ready": time.time() - began}), flush=True)
    for line in sys.stdin.buffer:
        name, own = line.decode().strip(), os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setsid()
                die_with_parent(own)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 0)
                os.dup2(null, 1)
                run(folder, name, service)
            finally:
                os._exit(1)
        print(json.dumps({"pid": pid}), flush=True)


def run(folder: str, name: str, service: Any) -> None:
    """Be one instance: answer the supervisor on a socket until told to end."""
    path = name + ".sock"  # relative, since names of sockets are short
    control = socket.socket(socket.AF_UNIX)
    old = os.umask(0o177)
    control.bind(path)
    os.umask(old)
    control.listen(4)
    instance = Instance(folder, name, service)
    while True:
        peer, _ = control.accept()
        threading.Thread(target=instance.talk, args=(peer,), daemon=True).start()


class Instance:
    """Answers what the supervisor asks, one JSON object a line."""

    def __init__(self, folder: str, name: str, service: Any) -> None:
        self._folder, self._name, self._service = folder, name, service
        self.context: Context | None = None
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()

    def talk(self, peer: socket.socket) -> None:
        """Answer one connection."""
        with peer, peer.makefile("rwb") as stream:
            for line in stream:
                try:
                    order = json.loads(line)
                    said = getattr(self, "do_" + order["do"])(order)
                except Exception as error:  # the supervisor is told, whatever a service raises
                    said = {"error": "%s: %s" % (type(error).__name__, error)}
                stream.write(json.dumps(said).encode() + b"\n")
                stream.flush()

    def do_ready(self, order: dict[str, Any]) -> dict[str, Any]:
        """Whether it could serve."""
        getattr(self._service, "ready", lambda: None)()
        return {}

    def do_activate(self, order: dict[str, Any]) -> dict[str, Any]:
        """Belong to a tenant, listen, and serve; the same again changes nothing."""
        with self._lock:
            if self.context is None:
                context = Context(order)
                listener = socket.create_server((context.address, context.port), backlog=128)
                getattr(self._service, "activate", lambda context: None)(context)
                self.context, self._listener = context, listener
                threading.Thread(target=self._serve, daemon=True).start()
            assert self._listener is not None
            if self.context.tenant != order["tenant"]:
                raise ValueError("it belongs to %s" % self.context.tenant)
            return {"port": self._listener.getsockname()[1]}

    def _serve(self) -> None:
        assert self.context is not None
        try:
            self._service.serve(self._listener, self.context)
        finally:
            # a service that returns by itself is no service any more
            if not self.context.stopping.is_set():
                os._exit(3)

    def do_stats(self, order: dict[str, Any]) -> dict[str, Any]:
        """What is in flight, and what was served."""
        context = self.context
        return {"in_flight": context.in_flight, "served": context.served} if context else {}

    def do_drain(self, order: dict[str, Any]) -> dict[str, Any]:
        """Take nothing new, wait for what is in flight, save."""
        with self._lock:
            context = self.context
            if context is None:
                return {"idle": True}
            context.stopping.set()
            if self._listener is not None:
                # shut down first: a thread that waits to accept would take one more
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
            idle = context.idle(order["seconds"])
            save = getattr(self._service, "save", None)
            if save is None:
                return {"idle": idle}
            data, path = save(context), os.path.join(self._folder, self._name + ".state")
            descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".new", path)
            return {"idle": idle, "path": path, "digest": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


if __name__ == "__main__":
    role, where = sys.argv[1:3]
    os.chdir(where)
    if role == "zygote":
        zygote(where)
    else:
        die_with_parent(os.getppid())
        run(where, sys.argv[3], load(where))
