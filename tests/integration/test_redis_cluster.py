"""Slots of a real Redis Cluster, moved under writes, with us and with nodes killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from slotted import PATH, Client, Cluster, check, run, running, seeds, seen, written

from sidestep.autopilot.cluster.__main__ import main
from sidestep.autopilot.cluster.watching import Settings, Tick, Watch
from sidestep.backends.redis_cluster.access import Access
from sidestep.backends.redis_cluster.client import Node, Nodes
from sidestep.backends.redis_cluster.demand import measured
from sidestep.backends.redis_cluster.job import Job, Ledger, Leg, job, unfinished
from sidestep.backends.redis_cluster.look import look
from sidestep.backends.redis_cluster.mover import Mover, inherited
from sidestep.backends.redis_cluster.ranges import slot_of
from sidestep.backends.redis_cluster.repair import settle
from sidestep.backends.redis_cluster.topology import View
from sidestep.backends.redis_cluster.yielding import NICE

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server", path=PATH) is None, reason="NOT CHECKED: redis-server is not installed"
)


@pytest.fixture(scope="module")
def plain() -> Iterator[Cluster]:
    with running(3, 0) as cluster:
        yield cluster


class Deadly(Node):
    """Kills its process with the write of that number; ``after``: once it was answered."""

    left = 0
    after = False

    async def _write(self, commands: Any, step: str) -> Any:
        if step in {"probe", "look"}:
            return await super()._write(commands, step)
        mine = type(self).left = type(self).left - 1
        if mine == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        answers = await super()._write(commands, step)
        if mine == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answers


def killed(cluster: Cluster, made: Job, folder: Path, number: int, after: bool) -> bool:
    """Run it in a process that dies with its n-th write to a node; whether it died."""
    child = os.fork()
    if child == 0:
        import sidestep.backends.redis_cluster.client as client
        import sidestep.backends.redis_cluster.mover as mover

        Deadly.left, Deadly.after = number, after
        client.Node = mover.Node = Deadly  # type: ignore[misc]
        try:
            asyncio.run(run(cluster, made, folder))
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def test_killed_with_any_write_a_move_is_finished_by_the_next_start(plain: Cluster, tmp_path: Path) -> None:
    """Every key once, with the newest acknowledged value, whatever moment we died at; also what clients wrote since."""
    ids = [plain.text(at, "CLUSTER", "MYID") for at in range(2)]
    values = written(plain, "k")
    slots = {slot_of(key) for key in values}
    number, after, turn, stages = 1, False, 0, set[str]()
    while True:
        source, target = ids[turn % 2], ids[1 - turn % 2]
        folder = tmp_path / str(turn)
        folder.mkdir()
        died = killed(plain, job([Leg(source, target, tuple(sorted(slots)))], "test"), folder, number, after)
        left = unfinished(folder)
        assert len(left) == (1 if died else 0)
        if died:
            stages.add((folder / f"{left[0].id}.jsonl").read_text().splitlines()[-1].split('"')[3])
            client = Client(plain.servers[2].port)
            for at, key in enumerate(values):
                if at % 3 == turn % 3:
                    values[key] = str(turn).encode()
                    client.ask(b"SET", key, values[key])
            asyncio.run(run(plain, left[0], folder))
            assert unfinished(folder) == ()
        check(plain, values, target, slots, plain.servers[2].port)
        turn += 1
        if not died:
            break
        number, after = (number + 1, False) if after else (number, True)
    assert stages == {"intent", "open", "carry", "commit", "tell"}


@pytest.mark.parametrize("victim", ["target", "source"])
def test_a_node_killed_in_the_middle_of_a_move_costs_no_key(victim: str, tmp_path: Path) -> None:
    with running(3, 1, timeout=1000) as cluster:
        ids = [cluster.text(at, "CLUSTER", "MYID") for at in range(3)]
        values = written(cluster, "n")
        slots = {slot_of(key) for key in values}
        ends = {"source": 0, "target": 1}

        class Watching(Node):
            struck = False

            async def _write(self, commands: Any, step: str) -> Any:
                met = any("MIGRATE" in words for words in commands) and not Watching.struck
                Watching.struck = Watching.struck or met
                answers = await super()._write(commands, step)
                if met:
                    cluster.servers[ends[victim]].kill()
                return answers

        import sidestep.backends.redis_cluster.mover as mover

        made = job(inherited([Leg(ids[0], ids[1], tuple(sorted(slots)))], seen(cluster)), "test")
        before, mover.Node = mover.Node, Watching  # type: ignore[misc]
        try:
            done = asyncio.run(run(cluster, made, tmp_path))
        finally:
            mover.Node = before  # type: ignore[misc]
        assert done.interrupted >= 1 and Watching.struck and unfinished(tmp_path) == ()
        heir = cluster.text(4, "CLUSTER", "MYID") if victim == "target" else ids[1]
        cluster.servers[ends[victim]].start()  # comes back, as a replica of who took its place
        assert cluster.servers[2].process is not None
        check_alive(cluster, values, heir, slots)


def check_alive(cluster: Cluster, values: dict[bytes, bytes], target: str, slots: set[int]) -> None:
    check(cluster, values, target, slots, cluster.servers[2].port)


def test_what_somebody_else_left_half_moved_is_finished_or_unmarked(plain: Cluster) -> None:
    ids = [plain.text(at, "CLUSTER", "MYID") for at in range(3)]
    values = written(plain, "h")
    now = seen(plain)
    owner = {slot_of(key): now.owner(slot_of(key)) for key in values}
    at = {one.id: index for index, one in enumerate(now.masters) for index in range(3) if ids[index] == one.id}
    moving, marked, *_ = sorted(owner)
    for slot in (moving, marked):
        source = owner[slot]
        assert source is not None
        plain.ask(2, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        plain.ask(at[source.id], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[2])
    source = owner[moving]
    assert source is not None
    some = plain.ask(at[source.id], "CLUSTER", "GETKEYSINSLOT", moving, 1)
    plain.ask(at[source.id], "MIGRATE", "127.0.0.1", plain.servers[2].port, "", 0, 1000, "KEYS", *some)

    async def put_right() -> View:
        nodes = Nodes(Access())
        try:
            assert len((await look(nodes, seeds(plain))).halves) == 4
            return await settle(nodes, seeds(plain), {})
        finally:
            await nodes.aclose()

    after = asyncio.run(put_right())
    kept = owner[marked]
    assert kept is not None and getattr(after.owner(marked), "id", "") == kept.id
    check(plain, values, ids[2], {moving}, plain.servers[0].port)


def test_keys_of_a_slot_that_stand_at_a_third_node_come_to_whom_it_goes(plain: Cluster) -> None:
    """As after a target came back while its slots were being sent on to the replica that had taken its place."""
    values = written(plain, "t")
    slot = slot_of(next(iter(values)))
    now = seen(plain)
    source = now.owner(slot)
    assert source is not None
    ports = {server.port: index for index, server in enumerate(plain.servers)}
    at = ports[source.port]
    third, target = (one for one in now.masters if one.id != source.id)
    plain.ask(ports[third.port], "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    plain.ask(at, "CLUSTER", "SETSLOT", slot, "MIGRATING", third.id)
    some = plain.ask(at, "CLUSTER", "GETKEYSINSLOT", slot, 2)
    plain.ask(at, "MIGRATE", "127.0.0.1", third.port, "", 0, 1000, "KEYS", *some)

    async def put_right() -> None:
        nodes = Nodes(Access())
        try:
            await settle(nodes, seeds(plain), {slot: (target.id, third.id)})
        finally:
            await nodes.aclose()

    asyncio.run(put_right())
    mine = {key: value for key, value in values.items() if slot_of(key) == slot}
    check(plain, mine, target.id, {slot}, plain.servers[0].port)


def test_demand_says_that_it_is_estimated_where_nodes_do_not_count(plain: Cluster) -> None:
    values = written(plain, "d", "x" * 500)

    async def ask() -> Any:
        nodes = Nodes(Access())
        try:
            return await measured(nodes, await look(nodes, seeds(plain)), apart=0.01)
        finally:
            await nodes.aclose()

    demand = asyncio.run(ask())
    assert set(demand.source.values()) == {"estimated"}
    assert demand.keys.sum() == sum(plain.ask(at, "DBSIZE") for at in range(3))
    assert demand.bytes[sorted({slot_of(key) for key in values})].min() > 0


class Program:
    """``sidestep cluster`` in this process: exit code and what it prints."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = main([*words, "--state", str(self._folder)])
        return code, *self._capsys.readouterr()


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(tmp_path, capsys)


def test_the_program_moves_shows_and_refuses_with_a_password_that_is_said_nowhere(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "password").chmod(0o600)
    with running(2, 0, password="hunter2", shares=(16000, 384)) as cluster:
        first, second = cluster.addresses
        reach = ["--node", first, "--password", f"file:{tmp_path}/password"]
        for at in range(100):
            owner = 0 if slot_of(b"p%d" % at) < 16000 else 1
            assert cluster.text(owner, "SET", f"p{at}", at, password="hunter2") == "OK"
        code, out, err = program("rebalance", *reach, "--by", "keys", "--json")
        assert code == 0 and json.loads(out)["keys"] >= 40, err
        told = json.loads(program("show", *reach, "--json")[1])
        assert told["ok"] and told["half_moved"] == [] and {one["address"] for one in told["nodes"]} == {first, second}
        for words, expected, text in (
            (["show", "--node", first], 1, "connect|look"),
            (["show", "--node", first, "--password", "hunter2"], 2, "reference"),
            (["show"], 2, "--node HOST:PORT"),
            (["move", *reach, "--slots", "0-5", "--to", "nobody"], 2, "no node of this cluster"),
            (["move", *reach, "--slots", "0-99999", "--to", second], 2, "slots are 0 to 16383"),
            (["rebalance", *reach, "--weight", f"{first}=x"], 2, "no weight"),
        ):
            code, out, err = program(*words)
            assert code == expected and not out and any(part in err for part in text.split("|")), err
            assert "hunter2" not in err
        journal = "".join(path.read_text() for path in tmp_path.glob("*.jsonl"))
        assert "hunter2" not in journal and '"end"' in journal


def test_what_was_interrupted_is_finished_or_given_up_before_anything_else_is_moved(
    plain: Cluster, program: Program, tmp_path: Path
) -> None:
    values, now = written(plain, "i"), seen(plain)
    ids, slots = [plain.text(at, "CLUSTER", "MYID") for at in range(3)], sorted({slot_of(key) for key in values})
    owners = {slot: now.owner(slot) for slot in slots}
    first = owners[slots[0]]
    assert first is not None
    target = next(id for id in ids if id != first.id)
    reach = ["--node", plain.addresses[0]]

    def interrupted() -> None:
        ledger = Ledger(
            tmp_path, job([Leg(first.id, target, tuple(slots[:1])), Leg(first.id, target, (9000,))], "test")
        )
        ledger.begin()
        ledger.close()

    interrupted()
    code, _, err = program("move", *reach, "--slots", "1", "--to", ids[1])
    assert code == 1 and "was interrupted" in err
    assert program("repair", *reach, "--give-up")[0] == 0 and seen(plain).owner(slots[0]) == first
    interrupted()
    code, out, err = program("repair", *reach)
    assert code == 0 and "moved" in out, err
    check(plain, values, target, {slots[0], 9000}, plain.servers[1].port)
    assert program("move", *reach, "--merge", "0-16383", "--to", ids[0], "--dry-run")[0] == 0


def test_a_replica_takes_over_by_plan_and_none_is_taken_from_a_master_that_has_no_other(program: Program) -> None:
    with running(2, 1) as cluster:
        reach = ["--node", cluster.addresses[0]]
        old, new = cluster.text(0, "CLUSTER", "MYID"), cluster.text(2, "CLUSTER", "MYID")
        code, _, err = program("failover", *reach, cluster.addresses[2])
        assert code == 0, err
        now = seen(cluster)
        one = now.by_id(old)
        assert one is not None and one.of == new and now.slots_of(new)
        code, _, err = program("replicate", *reach, cluster.addresses[0], "--of", cluster.addresses[1])
        assert code == 1 and "no replica left" in err


def test_hot_slots_are_overheard_and_leave_their_master_but_not_in_a_dry_run(
    plain: Cluster, program: Program, tmp_path: Path
) -> None:
    values, now = written(plain, "w"), seen(plain)
    keys = {slot_of(key): key for key in values}
    source = now.owner(next(iter(keys)))
    assert source is not None
    hot = {slot: key for slot, key in keys.items() if now.owner(slot) == source}
    ended, client = threading.Event(), Client(plain.servers[0].port)

    def ask() -> None:
        while not ended.is_set():
            for key in hot.values():
                client.ask(b"EVAL", b"for i = 1, 20000 do local x = i end return 1", b"1", key, at=3)

    thread = threading.Thread(target=ask)
    thread.start()
    settings = Settings(limit=0.02, interval=0.1, horizon=2.0, overhear=0.05, forecast=False)

    async def watched(act: bool) -> Tick:
        nodes, met = Nodes(Access()), asyncio.Queue[Tick]()

        async def move(legs: Sequence[Leg], why: str, at: View) -> None:
            ledger = Ledger(tmp_path, job(inherited(legs, at), why))
            await Mover(nodes, seeds(plain), before=0.0).run(ledger.job, ledger)
            ledger.close()
            moved.set()

        moved = asyncio.Event()
        watch = Watch(nodes, seeds(plain), settings, act=move if act else None, show=met.put_nowait)
        task = asyncio.create_task(watch.run())
        try:
            async with asyncio.timeout(60):
                while not (tick := await met.get()).legs:
                    pass
                if act:
                    await moved.wait()
                return tick
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await nodes.aclose()

    try:
        tick = asyncio.run(watched(False))
        assert source.name in tick.why and "overheard" in tick.source and not tick.predicted
        assert seen(plain).slots_of(source.id) == now.slots_of(source.id)
        asyncio.run(watched(True))
    finally:
        ended.set()
        thread.join()
    left = set(now.slots_of(source.id)) - set(seen(plain).slots_of(source.id))
    assert left & set(hot)
    assert {key: client.ask(b"GET", key) for key in values} == values
    assert any(source.name in path.read_text() for path in tmp_path.glob("*.jsonl"))  # the reason is in the journal
    code, out, err = program(
        "watch", "--node", plain.addresses[0], "--for=0.2", "--interval=0.1", "--dry-run", "--json"
    )
    assert code == 0 and all(json.loads(line)["masters"] for line in out.splitlines()), err


def test_what_moves_slots_gives_way_and_what_listens_for_clients_does_not(plain: Cluster, tmp_path: Path) -> None:
    """A probe that gave way, too, would hear the machine's noise, and slow down for it."""
    now = seen(plain)
    source, target = now.masters[:2]
    made = job([Leg(source.id, target.id, now.slots_of(source.id)[:8])], "test")
    ours, heard = os.getpriority(os.PRIO_PROCESS, 0), tmp_path / "heard"

    def told(done: int, total: int) -> None:
        me = os.getpid()
        children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        found = [os.getpriority(os.PRIO_PROCESS, int(pid)) for pid in (str(me), *children)]
        heard.write_text(json.dumps(found))

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(run(plain, made, tmp_path, ceiling=1.0, progress=told, yields=True))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(heard.read_text()) == [NICE, ours]
    assert seen(plain).slots_of(source.id) == now.slots_of(source.id)[8:]
