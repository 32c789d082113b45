"""Splits and merges that crash at every point: wholly done or wholly not, and never a key lost or held twice."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from move_doubles import OPERATOR, POLICY, Bench, Crash, FakeBackend, FaultsAt, an_action
from move_world import FakeTransport
from msgspec.structs import replace

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.steps import keys_of, routing_table
from sidestep.backends.base import Move, ShardObservation, StepResult
from sidestep.fleet.errors import HostError, ShardEnded
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState, ShardState, StepName, steps_of
from sidestep.fleet.placement import KEYS, Owner
from sidestep.fleet.plans import Action, Part

HALF = KEYS // 2
POINTS = [f"{s}:{w}" for s in steps_of("split") for w in ("before", "after")]
COMMIT = POINTS.index("commit:after")
BACK = [f"abort-{s}:after" for s in reversed(steps_of("split")[:6])]


class Ranged(FakeBackend):
    """Shards that are sets of keys; their commands heed LO and HI as they are written in front of them."""

    capabilities = frozenset({"discover", "migrate", "split", "merge"})

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        #: (host, shard) to token, state and keys
        self.runs: dict[tuple[str, str], tuple[int, str, frozenset[int]]] = {}
        self.files: dict[str, frozenset[int]] = {}
        self.damaged = self.ended = False

    async def discover(self, transport: FakeTransport) -> tuple[ShardObservation, ...]:
        return tuple(
            ShardObservation(
                shard=Label(name), host=Label(host), state=ShardState.RUNNING, token=token, pid=1, started=1,
                address=host, port=7000,
            )
            for (host, name), (token, _, _) in self.runs.items()
            if host == transport.host
        )  # fmt: skip

    async def stop(self, transport: FakeTransport, shard: ShardSpec, token: int) -> None:
        assert self.runs.pop((transport.host, str(shard.name)))[0] < token

    def put(self, at: tuple[str, str], **more: Any) -> None:
        token, state, keys = self.runs.get(at, (0, "", frozenset()))
        self.runs[at] = (more.get("token", token), more.get("state", state), more.get("keys", keys))

    async def step(
        self, name: StepName, move: Move, source: FakeTransport, destination: FakeTransport, notes: dict[str, str]
    ) -> StepResult:
        await asyncio.sleep(0)
        here, there = (source.host, str(move.shard.name)), (destination.host, str(move.shard.name))
        lo, hi = within(move.shard.save)
        match name:
            case StepName.PREPARE:
                path = f"{there}"
                return StepResult(notes={"destination_capsule": path, "address": destination.host, "port": "7000"})
            case StepName.FREEZE:
                assert self.runs[here][0] == move.old_token
                self.put(here, state="frozen")
            case StepName.CAPTURE:
                assert self.runs[here][1] == "frozen"
                self.files["taken"] = frozenset(k for k in self.runs[here][2] if lo <= k < hi)
                return StepResult(notes={"source_capsule": "taken", "digest": str(sorted(self.files["taken"]))})
            case StepName.TRANSFER:
                self.files[notes["destination_capsule"]] = self.files[notes["source_capsule"]]
            case StepName.RESTORE:
                new = frozenset([1]) if self.damaged else self.files[notes["destination_capsule"]]
                kept = self.runs.get(there, (0, "", frozenset[int]()))[2] if (lo, hi) != (0, KEYS) else frozenset()
                self.put(there, token=move.new_token, state="frozen", keys=kept | new)
            case StepName.VERIFY:
                found = sorted(k for k in self.runs[there][2] if lo <= k < hi)
                if str(found) != notes["digest"]:
                    raise HostError(destination.host, "verify", "gives another digest here")
            case StepName.RESUME:
                if self.ended:
                    raise ShardEnded(destination.host, "resume", "the shard died")
                self.put(there, state="serving")
            case StepName.RELEASE:
                if self.runs.get(here, (move.new_token, "", frozenset()))[0] < move.new_token:
                    del self.runs[here]
        return StepResult()

    async def abort(
        self, name: StepName, move: Move, source: FakeTransport, destination: FakeTransport, notes: dict[str, str]
    ) -> None:
        await asyncio.sleep(0)
        at = (destination.host, str(move.shard.name))
        if name is StepName.FREEZE:
            assert self.runs[at][0] == move.old_token
            lo, hi = within(move.shard.resume) if "drop" in move.shard.resume else (0, 0)
            self.put(at, state="serving", keys=frozenset(k for k in self.runs[at][2] if not lo <= k < hi))
        elif not move.source and self.runs.get(at, (0,))[0] == move.new_token:
            del self.runs[at]


def within(command: str) -> tuple[int, int]:
    found = re.search(r"LO=(\d+) HI=(\d+)", command)
    return (int(found[1]), int(found[2])) if found else (0, KEYS)


def shard(name: str, host: str, **more: Any) -> ShardSpec:
    return ShardSpec(
        name=Label(name), app=Label("kv"), host=Label(host), driver="hook", start="run", save="save", load="load",
        drop="drop", port=7000, **more,
    )  # fmt: skip


class Split(Bench):
    """One shard with all keys on h1, and a spare."""

    backend: Ranged

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.journal.close()
        self.path = folder / "split.db"
        self.journal = type(self.journal)(self.path, clock=lambda: self.now)
        shards = (shard("s1", "h1", keys=(0, KEYS)), shard("s2", "h2", spare=True))
        self.fleet = replace(self.fleet, shards=shards, policy=POLICY)
        self.journal.adopt({Label("s1"): Owner(Label("h1"), 1)}, OPERATOR)
        self.journal.set_endpoint("s1", "h1", 7000)
        self.backend = Ranged(self.world)
        self.backend.runs["h1", "s1"] = (1, "serving", frozenset(range(0, KEYS, 4096)))

    async def ready(self) -> Split:
        table = routing_table(self.fleet, self.journal.placement(), self.journal.endpoints())
        await self.router.apply(msgspec.msgpack.encode(table), table.checksum())
        return self

    def settlement(self) -> Settlement:
        log = Log(self.journal, stream=io.StringIO())
        return Settlement(self.fleet, self.journal, {"process": self.backend}, self._transport, log)

    def at(self, *, split: bool) -> None:
        """Keys, owners, table and processes all say the same, and nobody waits."""
        every = frozenset(range(0, KEYS, 4096))
        upper = frozenset(k for k in every if k >= HALF)
        wanted = {("h1", "s1"): every - upper, ("h3", "s2"): upper} if split else {("h1", "s1"): every}
        assert {at: keys for at, (_, _, keys) in self.backend.runs.items()} == wanted
        assert {state for _, state, _ in self.backend.runs.values()} == {"serving"}
        assert not self.router.held
        assert self.router.table is not None
        cut = {"s1": (0, HALF), "s2": (HALF, KEYS)} if split else {"s1": (0, KEYS)}
        assert keys_of(self.fleet, self.journal.shard_keys()) == cut
        assert {str(r.shard): (r.lo, r.hi) for r in self.router.table.routes} == cut
        tokens = {(str(o.host), str(s)): o.token for s, o in self.journal.placement().owners.items()}
        assert {at: token for at, (token, _, _) in self.backend.runs.items()} == tokens
        assert self.journal.placement().owners[Label("s1")].token == 1, "the giver keeps its token"


@pytest.fixture
async def bench(tmp_path: Path) -> Split:
    return await Split(tmp_path).ready()


def a_split(kind: str = "split") -> Action:
    parts = (Part(Label("s1"), Label("h1"), (0, HALF)), Part(Label("s2"), Label("h3"), (HALF, KEYS)))
    return an_action(1, "s1", "h1", "h3", kind=kind, parts=parts)


async def crashed(bench: Split, kind: str, *faults: tuple[str, str]) -> tuple[ActionState, PlanState]:
    """What has become of it after a crash and a restart."""
    with pytest.raises(Crash):
        await bench.executor(FaultsAt(*faults)).run(bench.approved(a_split(kind)))
    bench.reborn()
    (status,) = await bench.executor().recover()
    return status.actions[0].state, status.state


@pytest.mark.parametrize("point", [p for p in POINTS if p.endswith("after") or p.startswith(("commit", "route"))])
async def test_a_split_that_crashed_is_finished_or_taken_back(bench: Split, point: str) -> None:
    """S1.20 S2.27: the journal decides the side; no key is lost, none is served by two."""
    forward = POINTS.index(point) >= COMMIT
    found = await crashed(bench, "split", (point, "crash"))
    assert found == ((ActionState.DONE, PlanState.SUCCEEDED) if forward else (ActionState.ABORTED, PlanState.FAILED))
    bench.at(split=forward)


@pytest.mark.parametrize("point", [p for p in POINTS if p.endswith("after")])
async def test_a_merge_that_crashed_is_finished_or_taken_back(bench: Split, point: str) -> None:
    """S1.21 S2.27: the way back of a split is as safe as the split."""
    await bench.executor().run(bench.approved(a_split()))
    bench.at(split=True)
    forward = POINTS.index(point) >= COMMIT
    found = await crashed(bench, "merge", (point, "crash"))
    assert found[0] is (ActionState.DONE if forward else ActionState.ABORTED)
    bench.at(split=not forward)


@pytest.mark.parametrize("point", BACK)
async def test_a_crash_while_a_split_is_taken_back_is_taken_back_too(bench: Split, point: str) -> None:
    await crashed(bench, "split", ("commit:before", "error"), (point, "crash"))
    bench.at(split=False)


async def test_a_copy_that_is_not_the_same_is_never_routed_to(bench: Split) -> None:
    """S1.20: verified before the switch."""
    bench.backend.damaged = True
    status = await bench.executor().run(bench.approved(a_split()))
    assert "another digest" in status.actions[0].note
    bench.at(split=False)


async def test_the_way_back_of_a_split_is_the_merge_and_keys_that_changed_are_noticed(bench: Split) -> None:
    """S2.13: written down before the commit; a plan for other keys is refused when it begins."""
    digest = bench.approved(a_split())
    await bench.executor().run(digest)
    ((way, problem),) = bench.journal.ways_back(digest).values()
    assert (way.kind, way.shard, way.parts, problem) == ("merge", "s1", a_split().parts, "")
    other = replace(
        a_split("merge"), parts=(Part(Label("s1"), Label("h1"), (0, 5)), Part(Label("s2"), Label("h3"), (5, KEYS)))
    )
    status = await bench.executor().run(bench.approved(other))
    assert "the plan was made for (0, 5)" in status.actions[0].note
    bench.at(split=True)
    await bench.executor().run(bench.approved(replace(way, id=1)))
    bench.at(split=False)


async def test_what_is_lacking_is_said_before_anything_is_done(bench: Split) -> None:
    """S1.20: no spare, no drop command, a backend that cannot: the action does not begin."""
    plain = replace(bench.fleet.shards[0], drop="")
    bench.fleet = replace(bench.fleet, shards=(plain, bench.fleet.shards[1]))
    status = await bench.executor().run(bench.approved(a_split()))
    assert status.actions[0].state is ActionState.CANCELLED
    assert "need driver" in status.actions[0].note


async def test_the_spare_is_in_hand_while_its_keys_go(bench: Split) -> None:
    """S2.8: nobody starts a spare that was stopped to be merged, or it would answer what is lost."""
    await bench.executor().run(bench.approved(a_split()))
    executor = bench.executor(FaultsAt(("capture:after", "stall")))
    running = asyncio.create_task(executor.run(bench.approved(a_split("merge"))))
    async with asyncio.timeout(60):
        while bench.backend.runs["h3", "s2"][1] != "frozen":
            await asyncio.sleep(0.005)
    assert executor.busy == {"s1", "s2"}
    await running
    bench.at(split=True)
    assert executor.busy == frozenset()


async def test_a_spare_that_runs_though_its_keys_were_merged_away_is_ended(bench: Split) -> None:
    """S1.21 S3.9: it was cut off, or thawed by somebody; one that no split of ours knows is left alone."""
    await bench.executor().run(bench.approved(a_split()))
    token = bench.journal.placement().owners[Label("s2")].token
    await bench.executor().run(bench.approved(a_split("merge")))
    settlement = bench.settlement()
    for stale in (token + 7, token):
        bench.backend.runs["h3", "s2"] = (stale, "serving", frozenset())
        await settlement.settle(("h1", "h2", "h3"))
        assert (("h3", "s2") in bench.backend.runs) == (stale != token)
    bench.at(split=False)


async def test_a_spare_that_never_served_is_brought_up_from_what_it_was_given(bench: Split) -> None:
    """S1.20 S2.27: past the commit there is only forward; a plain start would begin with nothing."""
    bench.backend.ended = True
    status = await bench.executor().run(bench.approved(a_split()))
    assert status.actions[0].state is ActionState.FAILED_NEEDS_HUMAN
    bench.backend.ended = False
    await bench.settlement().settle(("h1", "h2", "h3"))
    _, state, keys = bench.backend.runs["h3", "s2"]
    assert (state, min(keys)) == ("serving", HALF)
    assert "start s2" not in bench.backend.done
