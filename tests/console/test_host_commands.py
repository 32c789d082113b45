"""Orders about hosts as they are typed: cordon, uncordon, drain (docs/drain.md)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import datetime

import pytest
from frames import Daemon
from test_command_line import ask

from sidestep.autopilot.protocol_hosts import CordonHosts, DrainHosts, HostOrders, OrderedHost, UncordonHosts
from sidestep.autopilot.protocol_plans import TryDrain
from sidestep.console.headless.hosts import moment
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label

NOON = datetime(2027, 3, 1, 12, 0).timestamp()


def some(now: float) -> HostOrders:
    def row(host: str, state: str, shards: int, until: float) -> OrderedHost:
        return OrderedHost(
            host=Label(host), wish="drain", state=state, shards=shards, since=now - 90.5, until=until, by=Label("amy"),
            reason=Label("new kernel"),
        )  # fmt: skip

    return HostOrders(rows=(row("h1", "DRAINING", 3, now + 10_830.0), row("h2", "DRAINED", 0, 0.0)))


async def test_hosts_are_closed_and_opened_with_reason_and_end(daemon: Daemon) -> None:
    before = time.time()
    ran = await ask(daemon, "cordon", "h1", "h2", "--reason", "disk", "--until", "2h")
    assert (ran.code, ran.out) == (0, "CordonHosts: h1, h2\n")
    (asked,) = daemon.steered
    assert isinstance(asked, CordonHosts) and (asked.hosts, asked.reason) == (("h1", "h2"), "disk")
    assert before + 7200 <= asked.until <= time.time() + 7200
    assert (await ask(daemon, "uncordon", "h1")).code == 0
    assert daemon.steered[1:] == [UncordonHosts(("h1",), "")]


async def test_without_a_host_the_orders_that_stand_are_listed(daemon: Daemon) -> None:
    assert (await ask(daemon, "cordon")).out == "no host is cordoned or drained by order\n"
    daemon.orders = some(time.time())
    head, first, second = (await ask(daemon, "cordon")).out.splitlines()
    assert head.split() == ["HOST", "STATE", "SHARDS", "SINCE", "ENDS", "IN", "BY", "REASON"]
    assert first.split()[:3] == ["h1", "DRAINING", "3"] and "3h00m" in first and first.endswith("amy  new kernel")
    assert second.split()[:3] == ["h2", "DRAINED", "0"]
    assert json.loads((await ask(daemon, "cordon", "--json")).out)["rows"][0]["by"] == "amy"
    assert daemon.steered == []


async def test_a_drain_shows_first_what_cannot_move_and_each_host_with_the_others_closed(daemon: Daemon) -> None:
    """Lesson 9; the order stands though one shard cannot leave, and the exit code says so."""
    daemon.possible = False
    ran = await ask(daemon, "drain", "h2", "h3", "h2", "--reason", "new kernel", "--yes")
    assert ran.code == 3 and "h2 cannot be emptied" in ran.out and "PINNED: shop-02" in ran.out
    assert ran.out.splitlines()[-1] == "DrainHosts: h2, h3"
    tried = [each for each in daemon.wanted if isinstance(each, TryDrain)]
    assert tried == [TryDrain("h2", ("h3",)), TryDrain("h3", ("h2",))]
    assert daemon.steered == [DrainHosts(("h2", "h3"), "new kernel")]
    daemon.possible = True
    assert (await ask(daemon, "drain", "h2", "--yes", "--json")).code == 0


async def test_a_dry_run_orders_nothing(daemon: Daemon) -> None:
    assert (await ask(daemon, "drain", "h2", "--dry-run", "--yes")).code == 0
    assert daemon.steered == []


@pytest.mark.parametrize(("typed", "code"), [("h2 h3\n", 0), ("h2\n", 1), ("\n", 1)])
async def test_on_a_terminal_the_hosts_are_typed_to_confirm(daemon: Daemon, typed: str, code: int) -> None:
    mine, its = os.openpty()
    try:
        os.write(mine, typed.encode())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidestep", "drain", "h2", "h3", stdin=its,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "SIDESTEP_SOCKET": str(daemon.server.path)},
        )  # fmt: skip
        out, err = await process.communicate()
    finally:
        os.close(its)
        os.close(mine)
    assert process.returncode == code and b"type h2 h3" in err and b"h2 can be emptied" in out
    assert len(daemon.steered) == (1 if code == 0 else 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("drain", "h2"), "--yes"),
        (("drain", "h2", "--json"), "--yes"),
        (("drain",), "HOST is missing"),
        (("uncordon",), "HOST is missing"),
        (("cordon", "--reason", "x"), "HOST is missing"),
        (("cordon", "h1", "--until", "soon"), "--until soon"),
        (("drain", "h1", "--until", "0s", "--yes"), "later than now"),
    ],
)
async def test_what_cannot_be_ordered_is_exit_code_2_and_one_message(
    daemon: Daemon, arguments: tuple[str, ...], said: str
) -> None:
    ran = await ask(daemon, *arguments)
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err and daemon.steered == []


@pytest.mark.parametrize(
    ("text", "after"),
    [("", -NOON), ("2h", 7200.0), ("18:00", 21600.0), ("12:00", 86400.0), ("2027-03-01T13:00", 3600.0)],
)
def test_an_end_is_a_duration_a_time_of_day_or_a_date(text: str, after: float) -> None:
    assert moment(text, NOON) == NOON + after


@pytest.mark.parametrize("text", ["soon", "25:00", "nan", "-1h", "0", "18:00:61", "\x1b[2J"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--until"):
        moment(text, NOON)
