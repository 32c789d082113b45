"""Hosts that fall silent or die in the middle of a move, and hooks that hang: under real load, nothing is lost."""

from __future__ import annotations

import asyncio
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ground import Ground

from sidestep.autopilot.client import Refused
from sidestep.autopilot.protocol import PlanView, ProposeMove
from sidestep.backends.routing.client import UnixRouter
from sidestep.fleet.machines import ActionState, PlanState, StepName, StepState

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

#: seconds that a step may take; taking one back is cut off after twice as long
STEP = 2.0
OTHER = {"h1": "h2", "h2": "h1"}


def hasten(ground: Ground) -> Ground:
    """A fleet file whose steps are cut off early."""
    text = ground.file.read_text()
    text = re.sub(r"(?m)^step_deadline = .*$", f"step_deadline = {STEP}", text)
    text = re.sub(r"(?m)^connect_timeout = .*$", "connect_timeout = 1.0", text)
    ground.file.write_text(re.sub(r"(?m)^observe = .*$", "observe = 0.0", text))
    return ground


@pytest.fixture(scope="module")
def hasty(ground: Ground) -> Iterator[Ground]:
    """No host of this fleet ever loses its memory, so that at the end every request is accounted for."""
    yield hasten(ground)
    with ground.daemon():
        audit = asyncio.run(UnixRouter(ground.router).audit())
    assert audit["requests"] > 100
    assert (audit["lost"], audit["duplicated"], audit["double_owner"]) == (0, 0, 0), audit


@pytest.fixture(scope="module")
def mortal() -> Iterator[Ground]:
    """A fleet whose hosts are killed: what they had in memory is gone."""
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        fleet = Ground(Path(folder), hosts=2, shards=4)
        try:
            yield hasten(fleet)
        finally:
            fleet.close()


def soon(wanted: Callable[[], Any], what: str, deadline: float = 30.0) -> Any:
    """The first answer that is true; fails at the deadline."""
    until = time.monotonic() + deadline
    while not (found := wanted()):
        assert time.monotonic() < until, what
        time.sleep(0.05)
    return found


def gate(ground: Ground, shard: str) -> dict[str, Any]:
    """What the router does with the shard's requests."""
    stats = asyncio.run(UnixRouter(ground.router).stats())
    found: dict[str, Any] = stats["shards"][shard]
    return found


def living(ground: Ground, shard: str) -> list[str]:
    """Hosts that hold a process of the shard, stopped ones too."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        home = next((item[5:].decode() for item in environment if item.startswith(b"HOME=")), "")
        ours = f"SHARD={shard}".encode() in environment and home.startswith(str(ground.folder))
        if ours and b"counter.py\0serve" in command:
            found.append(Path(home).name)
    return sorted(found)


def step_of(ground: Ground, view: PlanView, step: str) -> StepState:
    (action,) = ground.status(view.digest).status.actions
    return next(s.state for s in action.steps if s.name is StepName(step))


def begin(ground: Ground, shard: str, destination: str) -> PlanView:
    """An approved plan, as soon as the daemon knows enough of hosts and shards to take it."""

    def approved() -> PlanView | None:
        try:
            view = ground.call(ProposeMove(shard, destination, "a host is about to fail"))
            assert isinstance(view, PlanView)
            ground.approve(view)
        except Refused:
            return None
        return view

    view: PlanView = soon(approved, f"no plan moves {shard} to {destination}")
    return view


@contextmanager
def held_open(ground: Ground, shard: str, point: str) -> Iterator[tuple[PlanView, str, str]]:
    """A move that stalls at a point of a step, until that step's deadline: the plan, source and destination."""
    with ground.daemon(fault=f"stall@{point}"):
        ((source, _),) = ground.serving(shard)
        view = begin(ground, shard, OTHER[source])
        step = point.split(":", maxsplit=1)[0]
        soon(lambda: step_of(ground, view, step) in {StepState.RUNNING, StepState.DONE}, f"{step} does not begin")
        yield view, source, OTHER[source]


def serves_again(ground: Ground, shard: str, host: str) -> None:
    """Its requests flow to the old owner, within what the stalled step and the thaw may take."""
    soon(lambda: not gate(ground, shard)["held"], f"requests to {shard} are held", STEP + 2 * STEP)
    assert host in [at for at, _ in ground.serving(shard)]
    soon(lambda: gate(ground, shard)["waiting"] == 0, f"requests to {shard} wait")


def aborted(ground: Ground, view: PlanView, *words: str) -> None:
    ended = ground.wait(view.digest, PlanState.FAILED)
    (action,) = ended.status.actions
    assert action.state is ActionState.ABORTED
    assert all(word in action.note for word in words), action.note
    assert all(word in ended.status.note for word in words), ended.status.note


@pytest.mark.parametrize("step", ["freeze", "transfer", "restore"])
def test_a_destination_that_falls_silent_before_the_commit_gives_the_shard_back(hasty: Ground, step: str) -> None:
    """S2.27 S3.9: the users of a shard do not wait for a host that is not theirs."""
    with held_open(hasty, "kv-01", f"{step}:before") as (view, source, destination):
        hasty.order(cut=destination)
        try:
            serves_again(hasty, "kv-01", source)
        finally:
            hasty.order(heal=destination)
        aborted(hasty, view, f"kv-01 from {source} to {destination}: {step}: did not end within")
        soon(lambda: living(hasty, "kv-01") == [source], "a copy was left behind")
        soon(lambda: not [*hasty.folder.rglob(f"*.{view.digest}-1*")], "files of the move were left behind")


def test_a_move_ends_without_waiting_for_the_silent_host_that_may_hold_a_copy(hasty: Ground) -> None:
    """S2.27: what it left there can never serve, and is ended when the host answers again."""
    with held_open(hasty, "kv-02", "verify:before") as (view, source, destination):
        hasty.order(cut=destination)
        try:
            serves_again(hasty, "kv-02", source)
            aborted(hasty, view, "verify: did not end within", f"What is left on {destination} waits", "clean")
            assert living(hasty, "kv-02") == ["h1", "h2"], "there was no copy to end"
        finally:
            hasty.order(heal=destination)
        soon(lambda: living(hasty, "kv-02") == [source], "the copy lives on")
        soon(lambda: not [*hasty.folder.rglob(f"*.{view.digest}-1*")], "files of the move were left behind")
        said = f"{destination}: taken back what plan {view.plan.number} left of kv-02"
        soon(lambda: any(said in line for line in hasty.log()), "nobody says so")


def test_a_copy_that_nobody_could_end_is_ended_when_its_host_comes_back(hasty: Ground) -> None:
    """S2.27: the daemon died, its successor does not reach the destination, and knows of the copy all the same."""
    with hasty.daemon(fault="kill@verify:before") as daemon:
        ((source, _),) = hasty.serving("kv-02")
        destination = OTHER[source]
        view = begin(hasty, "kv-02", destination)
        assert daemon.wait(60) == -signal.SIGKILL
    hasty.order(cut=destination)
    try:
        with hasty.daemon():
            aborted(hasty, view, "the daemon ended while", f"What is left on {destination} waits")
            assert not gate(hasty, "kv-02")["held"]
            assert living(hasty, "kv-02") == ["h1", "h2"], "there was no copy to end"
            hasty.order(heal=destination)
            soon(lambda: living(hasty, "kv-02") == [source], "the copy lives on")
            said = f"{destination}: stopped the copy of kv-02 that a move left"
            soon(lambda: any(said in line for line in hasty.log()), "nobody says so")
    finally:
        hasty.order(heal=destination)


def test_a_source_that_falls_silent_serves_again_once_it_answers(hasty: Ground) -> None:
    """Its requests wait: one that is sent to a shard that may be frozen is lost."""
    with held_open(hasty, "kv-03", "capture:before") as (view, source, destination):
        hasty.order(cut=source)
        try:
            soon(lambda: step_of(hasty, view, "capture") is StepState.FAILED, "capture goes on")
            soon(lambda: gate(hasty, "kv-03")["waiting"] > 0, "no request waits")
            assert gate(hasty, "kv-03")["held"]
        finally:
            hasty.order(heal=source)
        serves_again(hasty, "kv-03", source)
        aborted(hasty, view, f"kv-03 from {source} to {destination}: capture: did not end within")
        soon(lambda: living(hasty, "kv-03") == [source], "a copy was left behind")


def test_a_destination_that_falls_silent_after_the_commit_gets_the_shard_when_it_answers(hasty: Ground) -> None:
    """S2.27: after the commit point there is only forward, and the requests wait."""
    with held_open(hasty, "kv-04", "commit:after") as (view, _, destination):
        soon(lambda: step_of(hasty, view, "commit") is StepState.DONE, "there is no commit")
        hasty.order(cut=destination)
        try:
            soon(lambda: step_of(hasty, view, "resume") is StepState.FAILED, "resume goes on")
            soon(lambda: gate(hasty, "kv-04")["waiting"] > 0, "no request waits")
            assert gate(hasty, "kv-04")["held"]
        finally:
            hasty.order(heal=destination)
        (action,) = hasty.wait(view.digest, PlanState.SUCCEEDED).status.actions
        assert action.state is ActionState.DONE
        assert living(hasty, "kv-04") == [destination]
        assert not gate(hasty, "kv-04")["held"]


def test_a_save_command_that_hangs_is_ended_and_the_shard_serves_again(hasty: Ground) -> None:
    before = hasty.file.read_text()
    # the first save only measures; the second one has the users waiting
    slow = "echo x >>$STATE/calls; [ $(wc -l <$STATE/calls) -lt 2 ] || sleep 7777; exec python3"
    head, shard = before.split("[shards.kv-01]")
    shard = shard.replace('save = "exec python3', f'save = "{slow}', 1)
    hasty.file.write_text(f"{head}[shards.kv-01]{shard}")
    try:
        with hasty.daemon():
            ((source, _),) = hasty.serving("kv-01")
            view = begin(hasty, "kv-01", OTHER[source])
            soon(lambda: gate(hasty, "kv-01")["held"], "kv-01 is not frozen")
            serves_again(hasty, "kv-01", source)
            aborted(hasty, view, "kv-01", source, "capture: did not end within")
            assert living(hasty, "kv-01") == [source]
    finally:
        hasty.file.write_text(before)


def test_a_destination_that_dies_while_it_restores_leaves_one_owner(mortal: Ground) -> None:
    """S3.9: a failure before the commit point keeps the old owner, and the dead host's shards come back."""
    with held_open(mortal, "kv-01", "restore:after") as (view, source, destination):
        soon(lambda: destination in living(mortal, "kv-01"), "nothing was restored")
        theirs = [s for s in ("kv-02", "kv-03", "kv-04") if living(mortal, s) == [destination]]
        mortal.order(kill=destination)
        serves_again(mortal, "kv-01", source)
        aborted(mortal, view, f"kv-01 from {source} to {destination}: restore:")
        mortal.order(revive=destination)
        for shard in theirs:
            soon(lambda shard=shard: living(mortal, shard) == [destination], f"{shard} does not come back", 45)
        assert living(mortal, "kv-01") == [source]


def test_a_destination_that_dies_after_the_commit_gets_the_state_that_was_moved(mortal: Ground) -> None:
    """S2.27: the capsule is on its disk; neither a dead host nor a dead daemon makes the shard start anew."""
    with held_open(mortal, "kv-03", "commit:after") as (view, _, destination):
        soon(lambda: step_of(mortal, view, "commit") is StepState.DONE, "there is no commit")
        mortal.order(kill=destination)
        soon(lambda: step_of(mortal, view, "resume") is StepState.FAILED, "resume goes on")
        assert gate(mortal, "kv-03")["held"]
    mortal.order(revive=destination)
    with mortal.daemon():
        assert mortal.wait(view.digest, PlanState.SUCCEEDED).status.actions[0].state is ActionState.DONE
        assert living(mortal, "kv-03") == [destination]
        soon(lambda: gate(mortal, "kv-03")["waiting"] == 0, "requests wait")
        audit = asyncio.run(UnixRouter(mortal.router).audit())
    moved = audit["shards"]["kv-03"]
    assert moved["requests"] > 10
    assert (moved["lost"], moved["duplicated"]) == (0, 0), moved


def test_faults_on_purpose_are_said_aloud(hasty: Ground) -> None:
    """A daemon that was told to break moves is never mistaken for a sound one."""
    with hasty.daemon(fault="error@release:after"):
        assert any("SIDESTEP_FAULT=error@release:after" in line for line in hasty.log())
    assert "SIDESTEP_FAULT=error@release:after" in (hasty.folder / "daemon.log").read_text()
