"""Functions on real hosts: real SSH, real Dask workers, real kills."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import Workers, until

from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.autopilot.functions.steerer import Steerer
from sidestep.backends.functions import blocks
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Block, Finished, Wishes
from sidestep.backends.functions.moving import move
from sidestep.backends.functions.payload import FunctionFailed
from sidestep.backends.functions.running import VerbFailed, WorkerLost
from sidestep.backends.functions.sources import bundle
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.sharding.capsules.chunks import Packer, name_of

pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
N = 4000


def plain(program: Path, name: str, *args: Any) -> Any:
    """The same call, here."""
    sys.path.insert(0, str(program.parent))
    try:
        module = importlib.import_module("gated" if name in {"gated", "stepped", "table"} else "work")
    finally:
        sys.path.pop(0)
    return getattr(module, name)(*args)


class Gated:
    """A run of ``gated`` that stands in its middle until the gate opens."""

    def __init__(self, workers: Workers, program: Path, folder: Path, **wishes: Any) -> None:
        self.workers = workers
        self.mark, self.gate = folder / "mark", folder / "gate"
        self._program = program
        call = call_in(program.with_name("gated.py"), "gated", (N, str(self.mark), str(self.gate)), {})
        before = set(workers.conductor.blocks)
        self._run = asyncio.create_task(workers.conductor.call(call, Wishes(shard=False, **wishes)))
        self._before = before

    async def standing(self) -> tuple[Block, int, str]:
        """The block, its token and its host, once it has begun."""
        await until(lambda: self.mark.exists() and self.mark.read_text(), "the block's first mark")
        conductor = self.workers.conductor
        (name,) = set(conductor.blocks) - self._before
        block = conductor.blocks[name]
        ((token, host),) = block.at.items()
        return block, token, host

    async def end(self) -> Finished:
        """Open the gate; the result has to be that of the plain call."""
        self.gate.touch()
        finished = await self._run
        begun = self.mark.read_text()
        assert value_of(finished) == plain(self._program, "gated", N, str(self.mark), str(self.gate))
        self.mark.write_text(begun)
        return finished

    @property
    def begun(self) -> int:
        """How often it was begun from the start."""
        return len(self.mark.read_text().split())


async def test_a_function_gives_and_raises_what_the_plain_call_does(workers: Workers, program: Path) -> None:
    """S1.24, S5.20: results are bit-identical; built-in exceptions come back as themselves, others by name."""
    call = workers.conductor.call
    finished = await call(call_in(program, "doubled", (0.1,), {"n": 2}), Wishes(shard=False))
    assert value_of(finished) == plain(program, "doubled", 0.1, 2)
    assert finished.outcome.cpu_s > 0 and finished.outcome.max_rss > 1 << 20
    with pytest.raises(ValueError) as raised:
        value_of(await call(call_in(program, "refuses", (1,), {}), Wishes(shard=False)))
    assert raised.value.args == ("no", 1)
    assert "in refuses" in str(raised.value.__notes__)
    with pytest.raises(FunctionFailed, match="Own: mine") as own:
        value_of(await call(call_in(program, "fails", (), {}), Wishes(shard=False)))
    assert own.value.kind == "Own"
    with pytest.raises(SidestepError, match="the result cannot travel"):
        value_of(await call(call_in(program, "unfit", (), {}), Wishes(shard=False)))
    with pytest.raises(UsageError, match="an argument cannot travel"):
        call_in(program, "doubled", (object(),), {})


async def test_workers_listen_on_their_own_address_only_and_let_no_stranger_in(workers: Workers) -> None:
    """Dask's ports are on the hosts' own addresses, and close for whoever has no certificate of this fleet."""
    addresses = {host.name: host.address for host in workers.fleet.hosts}
    for host, own in addresses.items():
        pids = {pid for pid, line in workers.fleet.tree(host) if "functions." in line}
        bound = listening(pids)
        assert bound, host
        assert {address for address, _ in bound} == {own}
    host, _, port = workers.cluster.scheduler[1].removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        reader, _ = await asyncio.open_connection(host, int(port), ssl=context)
        await reader.readexactly(1)


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """Addresses and ports of the listening TCP sockets of processes."""
    inodes = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                link = str(fd.readlink())
            except OSError:
                continue
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                address, port = words[1].split(":")
                octets = [str(int(address[i : i + 2], 16)) for i in (6, 4, 2, 0)] if table == "tcp" else [address]
                found.add((".".join(octets), int(port, 16)))
    return found


async def test_a_critical_block_runs_twice_and_one_result_counts(
    workers: Workers, program: Path, tmp_path: Path
) -> None:
    """S2.20: duplicate execution, one committed result, and the copies agree."""
    (tmp_path / "gate").touch()
    run = Gated(workers, program, tmp_path, copies=2)
    finished = await run.end()
    assert run.begun == 2
    assert finished.differing == () and finished.losses == ()


async def test_a_running_block_moves_and_its_old_token_is_refused(
    workers: Workers, program: Path, tmp_path: Path
) -> None:
    """S2.23, S2.24, S2.25, S2.26, S2.27, S2.28, S2.29: pre-copied, stopped, checked, committed, resumed; fenced."""
    run = Gated(workers, program, tmp_path, hosts=("h1", "h2"))
    block, token, source = await run.standing()
    target = "h2" if source == "h1" else "h1"
    moved = await move(workers.conductor, block.name, target)
    assert (moved.source, moved.target) == (source, target)
    assert moved.token > token
    # Nearly all of it went ahead.
    assert moved.state > 0 and moved.last <= 0.1 * sum(moved.ahead)
    job = msgspec.msgpack.encode(blocks.Job(block=block.name, token=token, source="", module="", function=""))
    said = await workers.cluster.runner.run(workers.cluster.address(source), "start", job)
    assert (said["kind"], said["error"]) == (blocks.REFUSED, "token")
    back = await move(workers.conductor, block.name, source, precopy=False)
    assert back.ahead == () and back.token > moved.token
    finished = await run.end()
    assert finished.moves == 2 and finished.losses == ()
    assert run.begun == 1


@pytest.mark.parametrize("lost", ["prepare", "reach", "follow", "sent"])
async def test_a_move_needs_nothing_that_only_makes_it_quick(
    workers: Workers, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """S2.24, S2.29: no seat that is ready, no connection made before, chunks that were sent and not taken."""
    run = Gated(workers, program, tmp_path, hosts=("h1", "h2"))
    block, _, source = await run.standing()
    guard = workers.conductor.guard
    halt = guard.halt

    async def nothing(*_: Any) -> None:
        """Not done."""

    async def forgotten(host: str, name: str, token: int, target: str) -> Any:
        await guard.forget(target, name)
        return await halt(host, name, token, target)

    monkeypatch.setattr(guard, *(("halt", forgotten) if lost == "sent" else (lost, nothing)))
    moved = await move(workers.conductor, block.name, "h2" if source == "h1" else "h1")
    assert moved.last > 0 and moved.target != source
    finished = await run.end()
    assert finished.moves == 1 and finished.losses == () and run.begun == 1


async def test_what_no_conductor_announced_is_not_taken_from_another_worker(workers: Workers) -> None:
    """S2.26: chunks of a block that is not expected on a host, whoever sends them."""
    record = Packer().record(name := name_of(b"x" * 99), b"x" * 99)
    ask, address = workers.cluster.runner.ask, workers.cluster.address("h1")
    with pytest.raises(VerbFailed, match="b99 is not expected here"):
        await ask(address, "arrive", ["b99", b"", {name: record}])
    assert await ask(address, "have", [name]) == []


async def test_a_block_leaves_a_host_that_is_forecast_to_run_dry(
    workers: Workers, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2.12, S5.6, S5.10: what agents say falls; the oracle's dense path sees it, and the block goes on elsewhere."""
    run = Gated(workers, program, tmp_path, hosts=("h1", "h2"))
    block, _, source = await run.standing()
    await until(lambda: workers.cluster.free.keys() == {"h1", "h2", "h3"}, "what every host has")
    steerer, free = Steerer(workers.conductor), dict.fromkeys(("h1", "h2", "h3"), 1.0)
    monkeypatch.setattr(Cluster, "free", property(lambda cluster: free))
    choice = None
    while choice is None and free[source] > 0.01:
        free[source] *= 0.8
        choice = await steerer.step()
    assert choice is not None and (choice.block, choice.source) == (block.name, source)
    assert choice.target != source and choice.target != "h3"
    (steered,) = steerer.moves
    assert steered.moved is not None and steered.moved.target == choice.target, steered.why
    assert workers.conductor.free[source] < 1.0
    finished = await run.end()
    assert finished.moves == 1 and run.begun == 1
    workers.conductor.free = {}


async def test_loops_run_as_shards_on_the_hosts_at_hand(workers: Workers, program: Path) -> None:
    """S2.1, S5.1, S5.3: the same call on one, two and three hosts: other cuts, the same bits."""
    await until(lambda: len(workers.cluster.workers) == 3, "all workers")
    results = {}
    for hosts in (("h1",), ("h1", "h2"), ("h1", "h2", "h3")):
        call = call_in(program.with_name("gated.py"), "table", (400, 0.1), {})
        finished = await workers.conductor.call(call, Wishes(hosts=hosts, force=True))
        results[len(hosts)] = value_of(finished)
        assert finished.outcome.sharded == (1 if len(hosts) > 1 else 0), finished.outcome.fallbacks
    assert results[1] == results[2] == results[3] == plain(program, "table", 400, 0.1)


async def test_a_killed_worker_costs_what_the_last_capsule_does_not_hold(
    workers: Workers, program: Path, tmp_path: Path
) -> None:
    """S2.19, S2.21, S5.15: kill -9 of a worker; the block goes on from the capsule that another host holds."""
    run = Gated(workers, program, tmp_path, hosts=("h1", "h2"), every=0.2)
    block, _, host = await run.standing()
    await until(lambda: block.saved is not None and len(block.saved.holders) > 1, "a capsule on another host")
    os.kill(workers.engine(host), signal.SIGKILL)
    await until(lambda: block.losses and block.losses[-1].recovery, "the block's way back")
    finished = await run.end()
    assert run.begun == 1, "it went on, it did not begin again"
    (loss,) = finished.losses
    assert loss.host == host != finished.host
    assert loss.recovery > 0


@pytest.mark.parametrize("every", [0.2, 0.0])
async def test_what_is_done_twice_is_what_no_capsule_held(
    workers: Workers, program: Path, tmp_path: Path, every: float
) -> None:
    """S2.11, S2.19, S5.15: with capsules no step before the last one is repeated; without, the whole block is."""
    await until(lambda: len(workers.cluster.workers) == 3, "all workers")
    log, gate, half = tmp_path / "log", tmp_path / "gate", 20
    call = call_in(program.with_name("gated.py"), "stepped", (2 * half, str(log), str(gate)), {})
    before = set(workers.conductor.blocks)
    run = asyncio.create_task(workers.conductor.call(call, Wishes(shard=False, every=every, hosts=("h1", "h2"))))

    def steps() -> list[tuple[str, int]]:
        lines = log.read_text().split("\n") if log.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines[:-1]]

    await until(lambda: steps()[-1:] and steps()[-1][1] == half, "the middle")
    (name,) = set(workers.conductor.blocks) - before
    block = workers.conductor.blocks[name]
    if every:
        # Two further ones on another host: the later was captured after the wait had begun.
        seen = block.saved.header.sequence if block.saved is not None else 0
        await until(lambda: block.saved and block.saved.header.sequence >= seen + 2, "capsules of the middle")
        await until(lambda: block.saved and len(block.saved.holders) > 1, "one on another host")
    ((_, host),) = block.at.items()
    first = steps()[0][0]
    os.kill(workers.engine(host), signal.SIGKILL)
    await until(lambda: block.losses and block.losses[-1].recovery, "the block's way back")
    gate.touch()
    finished = await run
    assert len(finished.losses) == 1
    again = [step for pid, step in steps() if pid != first]
    assert again == list(range(half + 1 if every else 0, 2 * half))
    assert value_of(finished) == plain(program, "stepped", 2 * half, str(tmp_path / "other"), str(gate))


async def test_a_killed_host_with_the_scheduler_costs_no_result(
    workers: Workers, program: Path, tmp_path: Path
) -> None:
    """S2.21: the engine forms anew on the hosts that are left; without capsules the whole block runs again."""
    host, address = workers.cluster.scheduler
    await until(lambda: host in workers.cluster.workers, "a worker beside the scheduler")
    run = Gated(workers, program, tmp_path, hosts=(host, "h2", "h3"))
    await run.standing()
    await workers.fleet.kill(host)
    await until(lambda: workers.cluster.scheduler[1] != address, "another scheduler")
    finished = await run.end()
    assert finished.losses and run.begun == 2
    assert workers.cluster.scheduler[0] != host and finished.host != host


async def test_a_lying_worker_runs_nothing_here_and_nothing_in_the_runner(workers: Workers, program: Path) -> None:
    """S2.28: pickles, exceptions that are bombs and wrong types are refused by name; the fleet works on."""
    await until(lambda: "h3" in workers.cluster.workers, "the worker of h3")
    home = workers.fleet.folder / "hosts" / "h3"
    runner, there = workers.cluster.runner, workers.cluster.address("h3")
    pid = runner.pid
    for lie in ("pickle", "exception", "text"):
        (home / "lie").write_text(lie)
        for verb in (runner.ask(there, "status"), runner.run(there, "fetch", [])):
            with pytest.raises(WorkerLost) as refused:
                async with asyncio.timeout(60):
                    await verb
            assert str(refused.value)
    (home / "lie").unlink()
    exploded = home / "exploded"
    where = exploded.read_text().split() if exploded.exists() else []
    assert str(pid) not in where and str(os.getpid()) not in where
    assert runner.pid == pid, "the runner lives"
    assert await runner.ask(there, "status") == []


async def test_source_files_go_by_digest(workers: Workers, program: Path) -> None:
    """The files of a function are on the host under their digest, and false ones are refused there."""
    source = bundle(program)
    assert set(source.files) == {"work.py", "helper.py"}
    host = next(iter(workers.cluster.workers))
    there = workers.cluster.address(host)
    with pytest.raises(SidestepError, match="not those of digest"):
        await workers.cluster.runner.ask(there, "source", [source.digest, {"work.py": b"import os"}])


async def test_nothing_survives_a_controller_that_is_killed(workers: Workers, program: Path, tmp_path: Path) -> None:
    """S2.22: kill -9 of ``sidestep run``: its runner, and all that it started on the host, are gone."""
    host = next(spec for spec in workers.fleet.hosts if workers.fleet.server(spec.name))
    before = {pid for pid, _ in workers.fleet.tree(host.name)}
    config = tmp_path / "fleet.toml"
    config.write_text(
        f'[fleet]\nname = "killed"\n[ssh]\nconfig = "none"\nknown_hosts = "{workers.fleet.known_hosts}"\n'
        f'identity = "{workers.fleet.identity}"\n[hosts.{host.name}]\naddress = "{host.address}"\n'
        f'port = {host.port}\nuser = "ops"\ncpu = 1\nmemory = "1GiB"\n'
    )
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    words = [f"{program.with_name('gated.py')}:gated", "100", str(mark), str(gate)]
    controller = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidestep.autopilot.functions", "--fleet", str(config), "--python", sys.executable),
        *words,
        stderr=asyncio.subprocess.PIPE,
    )
    await until(lambda: mark.exists() or controller.returncode is not None, "the block")
    assert controller.returncode is None, (await controller.communicate())[1]
    started = {pid for pid, _ in workers.fleet.tree(host.name)} - before
    runner = children(controller.pid)
    assert len(started) >= 5 and runner
    controller.kill()
    await controller.wait()
    await until(lambda: not {pid for pid, _ in workers.fleet.tree(host.name)} & started, "the end of all")
    await until(lambda: not [pid for pid in runner if alive(pid)], "the end of the runner")


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
