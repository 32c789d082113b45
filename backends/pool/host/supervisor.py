"""Runs on hosts: supervises the instances of one pool there, and outlives whoever gives the orders.

One asyncio process a pool, in the folder of its programs; orders come as JSON lines on its socket ``control.sock``
(0600), each may be repeated, and orders of an older daemon (``epoch``) are refused. Its instances die with it: so
none is ever there that nobody knows of.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shlex
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sidestep.backends.pool.host.processes import HERE, LINE, PROGRAM, Instance, Processes, Refused, alive
else:
    from processes import HERE, LINE, PROGRAM, Instance, Processes, Refused, alive

MUTATING = frozenset(("warm", "cold", "activate", "drain", "scrub", "end", "quit"))


class Supervisor(Processes):
    """All instances of a pool on this host."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one peer; orders run side by side, each answer names its order."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                line = await reader.readline()
                if not line:
                    break
                task = asyncio.ensure_future(self._answer(json.loads(line.decode()), writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (OSError, ValueError):
            pass
        writer.close()

    async def _answer(self, order: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        began = time.time()
        try:
            if order["do"] in MUTATING:
                self._admit(order.get("epoch", 0))
            said = await getattr(self, "do_" + order["do"])(order)
        except Refused as error:
            said = {"error": str(error)}
        except asyncio.TimeoutError:
            said = {"error": "took longer than its deadline"}
        except Exception as error:  # told to the one who asked; the others go on
            said = {"error": "%s: %s" % (type(error).__name__, error)}
        said.update(n=order["n"], seconds=time.time() - began)
        try:
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
        except OSError:
            pass

    def _admit(self, epoch: int) -> None:
        if epoch < self.epoch:
            raise Refused("epoch %d is over: another daemon has epoch %d" % (epoch, self.epoch))
        if epoch > self.epoch:
            with open(self._path("epoch.new"), "w") as file:
                file.write(str(epoch))
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._path("epoch.new"), self._path("epoch"))
            self.epoch = epoch

    # -- orders

    async def do_list(self, order: dict[str, Any]) -> dict[str, Any]:
        """Every instance, with what is in flight."""
        for instance in self.instances.values():
            if instance.state not in ("cold", "dead") and not alive(instance.pid):
                if instance.state != "warming":
                    instance.state, instance.detail = "dead", "its process has ended"

        async def told(instance: Instance) -> dict[str, Any]:
            facts = instance.told()
            if instance.state == "active" and self.config["kind"] == "python":
                try:
                    facts.update(await self._ask(instance, {"do": "stats"}, 1.0))
                except (OSError, asyncio.TimeoutError, Refused):
                    pass
            return facts

        found: list[dict[str, Any]] = await asyncio.gather(*[told(each) for each in self.instances.values()])
        return {"instances": found, "digest": self.config["digest"], "imported": self.imported}

    async def do_cold(self, order: dict[str, Any]) -> dict[str, Any]:
        """Check that an instance could be started, and keep it as a file."""
        name = order["id"]
        if name in self.instances and self.instances[name].state == "cold":
            return self.instances[name].told()
        if name in self.instances:
            await self.do_end(order)
        if self.config["kind"] == "python":
            code = "import sys,importlib.util as u\nif sys.argv[1]: sys.path.insert(0,sys.argv[1])\n"
            code += "sys.exit(0 if u.find_spec(sys.argv[2]) else 'no module named '+sys.argv[2])"
            argv = [self.config["python"], "-c", code, self.config["path"], self.config["service"]]
        else:
            argv = ["/bin/sh", "-n", "-c", self.config["start"]]
        await self._run(argv, 30.0, dict(os.environ))
        with open(self._path(name + ".cold"), "w") as file:
            file.write(str(order["port"]))
        instance = self.instances[name] = Instance(name, order["port"])
        instance.state = "cold"
        return instance.told()

    async def do_warm(self, order: dict[str, Any]) -> dict[str, Any]:
        """Start an instance, or wake a cold one, until it is ready; ``fresh`` is never a fork."""
        name = order["id"]
        instance = self.instances.get(name)
        fresh = order.get("fresh", False)
        if instance is None or instance.state in ("cold", "dead"):
            fresh = fresh or (instance is not None and instance.state == "cold")
            instance = self.instances[name] = Instance(name, order["port"])
        async with instance.lock:
            if instance.state != "warming":
                if instance.dirty:
                    raise Refused("it has served %s and was not scrubbed" % instance.tenant)
                return instance.told()
            try:
                await asyncio.wait_for(self._start(instance, fresh), order["seconds"])
            except BaseException:
                await self._kill(instance)
                instance.state = "dead"
                raise
            self._remove(name + ".cold")
            await self._freeze(instance)
            instance.state = "ready"
            return instance.told()

    async def _start(self, instance: Instance, fresh: bool) -> None:
        if self.config["kind"] == "command":
            instance.process = await self._spawn(["/bin/sh", "-c", self.config["start"]], self._env(instance))
            instance.pid = instance.process.pid
        elif fresh:
            argv = [self.config["python"], PROGRAM, "instance", self.folder, instance.name]
            instance.process = await self._spawn(argv, dict(os.environ))
            instance.pid = instance.process.pid
        else:
            instance.pid = await self._fork(instance.name)
        while True:
            try:
                await self._probe(instance)
                return
            except (OSError, Refused) as error:
                if not alive(instance.pid):
                    raise Refused("its process ended while it started: %s" % error)
                await asyncio.sleep(0.02)

    async def _probe(self, instance: Instance) -> None:
        if self.config["kind"] == "python":
            await self._ask(instance, {"do": "ready"}, 30.0)
        elif self.config["ready"]:
            await self._run(["/bin/sh", "-c", self.config["ready"]], 30.0, self._env(instance))

    async def do_activate(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give a ready instance to a tenant; it serves when this returns."""
        instance = self._known(order)
        async with instance.lock:
            if instance.state == "active" and instance.tenant == order["tenant"]:
                return instance.told()
            if instance.state != "ready":
                raise Refused("it is %s, not ready" % instance.state)
            instance.dirty, instance.tenant, instance.state = True, order["tenant"], "activating"
            self._thaw(instance)
            if self.config["kind"] == "python":
                said = {key: order.get(key, "") for key in ("tenant", "address", "state", "digest")}
                found = await self._ask(instance, dict(said, do="activate", port=instance.port), order["seconds"])
                instance.port = found["port"]
            else:
                env = self._env(instance, order["address"], order.get("state", ""))
                if self.config["activate"]:
                    await self._run(["/bin/sh", "-c", self.config["activate"]], order["seconds"], env)
                elif self.config["ready"]:
                    await self._run(["/bin/sh", "-c", self.config["ready"]], order["seconds"], env)
            instance.state = "active"
            return instance.told()

    async def do_drain(self, order: dict[str, Any]) -> dict[str, Any]:
        """Let it end what is in flight, and keep what it saves."""
        instance = self._known(order)
        async with instance.lock:
            if instance.state == "drained":
                return instance.told()
            self._thaw(instance)
            if self.config["kind"] == "python":
                wait = order["seconds"] + 30.0
                instance.saved = await self._ask(instance, {"do": "drain", "seconds": order["seconds"]}, wait)
            else:
                await self._drain_command(instance, order["seconds"])
            instance.state = "drained"
            return instance.told()

    async def _drain_command(self, instance: Instance, seconds: float) -> None:
        env = self._env(instance)
        if self.config["drain"]:
            await self._run(["/bin/sh", "-c", self.config["drain"]], seconds + 1.0, env)
        if self.config["save"]:
            path = self._path(instance.name + ".state")
            line = "umask 077; { %s; } > %s" % (self.config["save"], shlex.quote(path))
            await self._run(["/bin/sh", "-c", line], 30.0, env)
            said = await self._run(["sha256sum", path], 30.0, env)
            instance.saved = {"path": path, "digest": said.split()[0].decode(), "bytes": os.path.getsize(path)}
        if not self.config["drain"]:
            os.kill(instance.pid, signal.SIGTERM)
            until = time.time() + seconds
            while alive(instance.pid) and time.time() < until:
                await asyncio.sleep(0.02)

    async def do_scrub(self, order: dict[str, Any]) -> dict[str, Any]:
        """Remove everything of the tenant and be ready again; where that cannot be, it is ended, and says so."""
        instance = self._known(order)
        async with instance.lock:
            if instance.state == "ready" and not instance.dirty:
                return instance.told()
            if self.config["kind"] == "command" and self.config["scrub"] and alive(instance.pid):
                try:
                    await self._run(["/bin/sh", "-c", self.config["scrub"]], order["seconds"], self._env(instance))
                    instance.tenant, instance.saved = "", {}
                    await self._probe(instance)
                    instance.dirty, instance.state = False, "ready"
                    await self._freeze(instance)
                    return instance.told()
                except (Refused, OSError, asyncio.TimeoutError) as error:
                    instance.detail = "scrub failed: %s" % error
        return await self.do_end(order)

    async def do_end(self, order: dict[str, Any]) -> dict[str, Any]:
        """Kill it and forget it; one that is not there is none."""
        instance = self.instances.get(order["id"])
        if instance is None:
            return {"id": order["id"], "state": "gone", "detail": ""}
        await self._kill(instance)
        for kind in (".sock", ".cold", ".state.new"):
            self._remove(order["id"] + kind)
        self.instances.pop(order["id"], None)
        return dict(instance.told(), state="gone")

    async def do_forget(self, order: dict[str, Any]) -> dict[str, Any]:
        """Remove a state that was handed over."""
        self._remove(order["id"] + ".state")
        return {}

    async def do_quit(self, order: dict[str, Any]) -> dict[str, Any]:
        """End, if there is nothing to lose."""
        busy = [i.name for i in self.instances.values() if i.state not in ("cold", "dead", "ready")]
        if busy:
            raise Refused("%d instances are in use" % len(busy))
        self.done.set()
        return {}


async def serve(folder: str) -> None:
    """Supervise until told to end; a second one in the same folder ends at once."""
    lock = open(os.path.join(folder, "lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    # names of sockets are short: everybody works in the folder
    path = "control.sock"
    supervisor = Supervisor(folder)
    if os.path.exists(path):
        os.unlink(path)
    old = os.umask(0o177)
    server = await asyncio.start_unix_server(supervisor.talk, path, limit=LINE)
    os.umask(old)
    await supervisor.done.wait()
    await asyncio.sleep(0.1)
    server.close()
    for instance in supervisor.instances.values():
        await supervisor._kill(instance)


if __name__ == "__main__":
    os.umask(0o077)
    os.chdir(HERE)
    asyncio.run(serve(HERE))
