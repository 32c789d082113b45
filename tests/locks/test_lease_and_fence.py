"""S2.22: what a holder may be sure of by its own clock, and what a storage remembers."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.locks import Fence, Fenced, FileFence, LockBusy, LockError, boottime
from sidestep.locks.hold import Hold, Phase
from sidestep.locks.lease import Lease
from sidestep.locks.wire import Acquire, Granted, Refused, Release, Renew, Renewed

SECONDS = st.floats(0.0, 20.0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=1, max_size=8), st.floats(0.91, 1.09))
def test_whoever_is_sure_has_a_lease_at_the_service(renewals: list[tuple[float, float, float]], rate: float) -> None:
    """However long answers take, and with a client's clock that runs up to 9 % wrong."""
    lease, now, ends = Lease(10.0), 50.0, 0.0
    for pause, there, back in renewals:
        now += pause
        sent = now * rate
        if ends and now + there > ends:
            break  # the service has given it up
        now += there
        ends = now + 10.0  # the service wrote its answer
        now += back
        lease.acked(sent, now * rate)
        for later in (0.0, 1.0, 8.0, 9.5, 9.999):
            if Lease.sure(lease, (now + later) * rate):
                assert now + later < ends
    lost = bool(lease.lost)
    lease.acked(now * rate, now * rate)
    assert lost == bool(lease.lost) and (not lost or not lease.sure(now * rate)), "once unsure is for ever"


def held(clock: Clock) -> Hold:
    hold = Hold("x", ttl=9.0, wait=60.0, note="", clock=clock)
    assert hold.answered(hold.resend(clock.now)[0], clock.now, Granted(5, 9.0), clock.now) == ()
    assert hold.future.result(0) is hold and hold.sure()
    return hold


def test_a_grant_that_took_long_is_confirmed_before_the_app_gets_it() -> None:
    clock = Clock()
    hold = Hold("x", ttl=9.0, wait=60.0, note="", clock=clock)
    (ask,) = hold.resend(clock.now)
    sent, clock.now = clock.now, clock.now + 30.0
    (confirm,) = hold.answered(ask, sent, Granted(5, 9.0), clock.now)
    assert isinstance(confirm, Renew) and not hold.future.done() and not hold.sure()
    assert hold.answered(confirm, clock.now, Renewed(), clock.now) == ()
    assert hold.future.result(0) is hold and hold.sure()


def test_a_grant_that_cannot_be_confirmed_is_wished_for_anew_and_given_back() -> None:
    clock = Clock()
    hold = Hold("x", ttl=9.0, wait=60.0, note="", clock=clock)
    (ask,) = hold.resend(clock.now)
    sent, clock.now = clock.now, clock.now + 30.0
    (confirm,) = hold.answered(ask, sent, Granted(5, 9.0), clock.now)
    sent, clock.now = clock.now, clock.now + 20.0  # the process stood still
    gone, again = hold.answered(confirm, sent, Renewed(), clock.now)
    assert isinstance(gone, Release) and gone.claim == ask.claim
    assert isinstance(again, Acquire) and again.claim != ask.claim and again.wait == 10.0
    clock.now += 11.0
    assert hold.answered(again, clock.now, Refused("busy", "held by b"), clock.now) == ()
    with pytest.raises(LockBusy, match="held by b"):
        hold.future.result(0)


def test_a_hold_is_renewed_early_and_lost_on_time() -> None:
    clock = Clock()
    hold = held(clock)
    assert hold.due(clock.now + 2.9) == () and isinstance(hold.due(clock.now + 3.1)[0], Renew)
    clock.now += 8.0
    assert hold.sure()
    clock.now += 0.2
    assert not hold.sure() and not hold.lost.is_set()
    assert isinstance(hold.due(clock.now)[0], Release) and hold.lost.is_set() and hold.phase is Phase.LEAVING


def test_the_clock_counts_the_time_that_the_machine_sleeps() -> None:
    import time

    assert abs(boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60.0


@pytest.fixture(params=["memory", "file"])
def fence(request: pytest.FixtureRequest, tmp_path: Path) -> Fence | FileFence:
    return Fence() if request.param == "memory" else FileFence(tmp_path / "fence")


def test_a_fence_admits_what_is_not_older(fence: Fence | FileFence) -> None:
    for token in (1, 1, 7, 7):
        fence.admit("x", token)
    with pytest.raises(Fenced, match="token 6 of lock 'x' is older than 7") as refused:
        fence.admit("x", 6)
    assert refused.value.seen == 7
    fence.admit("y", 1)
    with pytest.raises(LockError, match="begin at 1"):
        fence.admit("x", 0)


def test_nothing_newer_is_admitted_in_the_middle_of_a_write(fence: Fence | FileFence) -> None:
    with ThreadPoolExecutor(1) as pool:
        with fence.admitted("x", 1):
            newer = pool.submit(fence.admit, "x", 2)
            assert not newer.done()
        newer.result(30.0)
    with pytest.raises(Fenced):
        fence.admit("x", 1)


def test_a_fence_on_disk_outlives_its_process_and_a_half_written_file(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sidestep.locks import FileFence;"
        "FileFence(Path(sys.argv[1])).admit('x', 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    (seen,) = [path for path in tmp_path.iterdir() if not path.suffix]
    seen.with_suffix(".new").write_text("00")  # somebody died while writing
    fence = FileFence(tmp_path)
    assert fence.seen("x") == 9
    with pytest.raises(Fenced):
        fence.admit("x", 8)
    fence.admit("x", 10)
    assert seen.stat().st_mode & 0o077 == 0
    os.truncate(seen, 3)
    with pytest.raises(LockError, match="damaged"):
        fence.admit("x", 11)
