"""The agent on a host: starts the engine's processes, and ends with its standard input, and all of them with it.

Runs as ``python -m sidestep.backends.functions.agent`` at the end of an SSH channel. It is the
subreaper of all it starts, so that nothing detaches; the engine's processes die with it even if
it is killed, and their seats die with them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import BinaryIO, Final

from sidestep import __version__
from sidestep.backends.embedded import proctree
from sidestep.backends.functions import frames, words
from sidestep.backends.functions.folder import OwnFolder
from sidestep.backends.functions.setup import Setup, new_signing_key, public_of
from sidestep.backends.functions.sources import store_source
from sidestep.backends.functions.vitals import Vitals
from sidestep.fleet.errors import SidestepError

#: seconds between two signs of life
BEAT: Final = 1.0
_TAIL: Final = 1500


class Agent:
    """One host's half of a fleet of workers."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO, folder: Path) -> None:
        self._in, self._out, self._folder = stdin, stdout, folder
        self._writing = threading.Lock()
        self._engines: dict[int, subprocess.Popen[bytes]] = {}
        self._welcome: words.Welcome | None = None
        self._signing = new_signing_key()

    def run(self) -> None:
        """Serve until standard input ends."""
        self._say(
            words.Ready(
                version=words.VERSION,
                python=platform.python_version(),
                sidestep=__version__,
                distributed=_version("distributed"),
                cores=len(os.sched_getaffinity(0)),
                public=public_of(self._signing),
            )
        )
        threading.Thread(target=self._beat, daemon=True).start()
        while (word := frames.read(self._in, words.ToAgent)) is not None:
            try:
                self._obey(word)
            except (OSError, SidestepError) as error:
                self._say(words.Trouble(str(error)))

    def _obey(self, word: words.ToAgent) -> None:
        match word:
            case words.Welcome():
                self._welcome = word
            case words.PutSource(digest, files):
                store_source(self._folder / "sources", digest, files)
                self._say(words.HasSource(digest))
            case words.StartScheduler(number):
                self._start(number, "scheduler", "")
            case words.StartWorker(number, scheduler):
                self._start(number, "worker", scheduler)
            case words.Stop(number):
                self._stop(number)

    def _start(self, number: int, role: str, scheduler: str) -> None:
        welcome = self._welcome
        if welcome is None:
            raise SidestepError("told to start an engine before a word of welcome")
        log = self._folder / f"{role}-{number}.log"
        with log.open("ab") as said:
            engine = subprocess.Popen(
                [sys.executable, "-m", "sidestep.backends.functions.engine"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
                preexec_fn=_die_with_agent,  # noqa: PLW1509 - called in the main thread, before any other could matter
            )
        self._engines[number] = engine
        assert engine.stdin is not None
        setup = Setup(
            role=role,
            name=welcome.name,
            address=welcome.address,
            scheduler=scheduler,
            authority=welcome.authority,
            certificate=welcome.certificate,
            key=welcome.key,
            threads=welcome.threads,
            folder=str(self._folder),
            signing=self._signing,
        )
        engine.stdin.write(frames.pack(setup))
        engine.stdin.flush()
        threading.Thread(target=self._attend, args=(number, engine, log), daemon=True).start()

    def _attend(self, number: int, engine: subprocess.Popen[bytes], log: Path) -> None:
        """Tell where an engine listens, and of its end."""
        assert engine.stdout is not None
        address = engine.stdout.readline().strip().decode("ascii", "replace")
        if address:
            self._say(words.Started(number, address))
            engine.stdout.read()
        status = engine.wait()
        tail = log.read_bytes()[-_TAIL:].decode("utf-8", "replace")
        self._say(words.Ended(number, status, tail))

    def _stop(self, number: int) -> None:
        engine = self._engines.get(number)
        if engine is None or engine.poll() is not None:
            return
        for process in [*proctree.descendants(engine.pid)]:
            proctree.send(process.pid, signal.SIGKILL)
        engine.kill()

    def _beat(self) -> None:
        vitals = Vitals()
        while True:
            time.sleep(BEAT)
            self._say(vitals.look(process.pid for process in proctree.descendants(os.getpid())))
            self._bury()

    def _bury(self) -> None:
        """Reap what was orphaned to us; the engines themselves are waited for by their own threads."""
        ours = {engine.pid for engine in self._engines.values()}
        me = os.getpid()
        for process in proctree.processes():
            if process.parent == me and process.zombie and process.pid not in ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)

    def _say(self, word: words.FromAgent) -> None:
        with self._writing:
            try:
                self._out.write(frames.pack(word))
                self._out.flush()
            except (OSError, ValueError):
                # Nobody listens: the end of standard input follows.
                return


def _die_with_agent() -> None:
    proctree.die_with_parent(signal.SIGKILL)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def main() -> None:
    """The agent's whole life; whatever ends it, nothing that it started is left."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever else writes to standard output must not get between the frames.
    os.dup2(2, 1)
    proctree.become_subreaper()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with OwnFolder.make() as folder:
        try:
            Agent(stdin, stdout, folder).run()
        except (SidestepError, OSError) as error:
            print(error, file=sys.stderr)
        finally:
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            proctree.end_orphans()
    os._exit(0)


if __name__ == "__main__":
    main()
