"""``cordon``, ``uncordon`` and ``drain``: orders about hosts, without a screen."""

from __future__ import annotations

import math
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_hosts import CordonHosts, DrainHosts, GetHostOrders, HostOrders, UncordonHosts
from sidestep.autopilot.protocol_plans import DrainView, TryDrain
from sidestep.console.headless import output
from sidestep.console.headless.planning import NOTHING
from sidestep.console.planningtext import drain_lines
from sidestep.console.text import ASCII
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.questions import Preflight
from sidestep.fleet.resources import parse_seconds, show_seconds

_WIDTH = 100
_HINT = "for example --until 2h, --until 18:00 or --until 2027-03-01T06:00"


def cordon(socket: Path, hosts: tuple[str, ...], reason: str, until: str, *, as_json: bool) -> None:
    """Close hosts to new shards; without a host, list every order."""
    if not hosts and (reason or until):
        raise UsageError("HOST is missing", hint="name one or more; without one, orders are only listed")
    asked = CordonHosts(hosts, reason, moment(until, time.time())) if hosts else GetHostOrders()
    with Client.connect(socket) as client:
        _show(client.call(asked), as_json=as_json)


def uncordon(socket: Path, hosts: tuple[str, ...], reason: str, *, as_json: bool) -> None:
    """Open hosts again, and call off their drains."""
    _named(hosts)
    with Client.connect(socket) as client:
        _show(client.call(UncordonHosts(hosts, reason)), as_json=as_json)


def drain(
    socket: Path, hosts: tuple[str, ...], reason: str, until: str, *, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Say whether hosts can be emptied, ask, and give the order; the exit code."""
    _named(hosts)
    hosts = tuple(dict.fromkeys(hosts))
    end = moment(until, time.time())
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody is there to confirm", hint="add --yes, or only look with --dry-run")
    with Client.connect(socket) as client:
        possible = True
        for host in hosts:
            answer = client.call(TryDrain(host, tuple(other for other in hosts if other != host)))
            assert isinstance(answer, DrainView)
            possible = possible and answer.preflight.possible
            _preflight(answer.preflight, shown=dry_run or not as_json, as_json=as_json)
        if not dry_run:
            if not yes:
                _confirm(hosts)
            _show(client.call(DrainHosts(hosts, reason, end)), as_json=as_json)
    return 0 if possible else NOTHING


def moment(text: str, now: float) -> float:
    """The unix time that ``--until`` means, 0 for none: a duration, a time of day here, or a date with one.

    Raises UsageError for anything else.
    """
    if not text:
        return 0.0
    try:
        seconds = parse_seconds(text)
    except ValueError:
        return _clock_time(text, now)
    if not math.isfinite(seconds) or seconds <= 0:
        raise UsageError(f"--until {text}: must be later than now", hint=_HINT)
    return now + seconds


def _clock_time(text: str, now: float) -> float:
    try:
        day = datetime.strptime(text, "%H:%M")
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError) as error:
            raise UsageError(f"--until {text}: no time", hint=_HINT) from error
    here = datetime.fromtimestamp(now)
    at = here.replace(hour=day.hour, minute=day.minute, second=0, microsecond=0)
    return (at if at > here else at + timedelta(days=1)).timestamp()


def _named(hosts: tuple[str, ...]) -> None:
    if not hosts:
        raise UsageError("HOST is missing", hint="see --help")


def _preflight(preflight: Preflight, *, shown: bool, as_json: bool) -> None:
    if not shown:
        return
    if as_json:
        output.dump(preflight)
    else:
        output.lines(drain_lines(preflight, time.time(), _WIDTH, ASCII))


def _confirm(hosts: tuple[str, ...]) -> None:
    """Have the hosts typed. Raises SidestepError for anything else."""
    print(f"type {' '.join(hosts)} to empty and keep empty: ", end="", file=sys.stderr, flush=True)
    if tuple(sys.stdin.readline().split()) != hosts:
        raise SidestepError("no order was given")


def _show(answer: object, *, as_json: bool) -> None:
    assert isinstance(answer, HostOrders)
    if as_json:
        output.dump(answer)
    elif answer.text:
        output.say(str(answer.text))
    elif answer.rows:
        output.table(table(answer, time.time()), "llrllll")
    else:
        output.say("no host is cordoned or drained by order")


def table(view: HostOrders, now: float) -> list[list[str]]:
    """A row for every order; ``now`` is unix time."""
    rows = [["HOST", "STATE", "SHARDS", "SINCE", "ENDS IN", "BY", "REASON"]]
    for row in view.rows:
        ends = show_seconds(max(0.0, row.until - now)) if row.until else "-"
        since = show_seconds(max(0.0, now - row.since))
        rows.append([row.host, row.state, str(row.shards), since, ends, row.by, row.reason])
    return rows
