"""What the doctor found, folded: what many hosts share is said once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from sidestep.fleet.config_ranges import compress
from sidestep.fleet.labels import Label, scrub

State = Literal["problem", "warning", "ok", "skipped"]

#: the stable format of ``--json``
VERSION: Final = 1
#: patterns of host names, and details, that one line shows
_SHOWN: Final = 12
_DETAILS: Final = 3
_ORDER: Final = {"problem": 0, "warning": 1, "ok": 2, "skipped": 3}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that one host does well or badly.

    ``text`` is the same for every host with this finding, ``detail`` is its own. ``HOST`` in
    ``remedy`` stands for the host's name.
    """

    host: Label
    #: what was looked at, such as "host key"
    check: str
    state: State
    text: Label
    detail: Label = Label("")
    remedy: Label = Label("")


class Examined(Struct, frozen=True, kw_only=True):
    """One host with everything that was found about it; ``facts`` are what it says about itself."""

    host: Label
    findings: tuple[Finding, ...]
    facts: dict[str, str | float] = {}

    @property
    def state(self) -> State:
        """The worst of its findings; a host about which nothing is known has a problem."""
        return min((f.state for f in self.findings if f.state != "skipped"), key=_ORDER.__getitem__, default="problem")


class Fold(Struct, frozen=True, kw_only=True):
    """One finding of several hosts."""

    check: str
    state: State
    text: Label
    remedy: Label
    hosts: tuple[Label, ...]
    details: tuple[Label, ...]


def found(host: str, check: str, state: State, text: str, *, detail: str = "", remedy: str = "") -> Finding:
    """A finding; foreign strings in it are made harmless."""
    return Finding(
        host=scrub(host), check=check, state=state, text=scrub(text, 400), detail=scrub(detail, 800),
        remedy=scrub(remedy, 800),
    )  # fmt: skip


def fold(examined: Iterable[Examined]) -> tuple[Fold, ...]:
    """Identical findings made one, the worst first, then by how many hosts they concern."""
    groups: dict[tuple[str, State, Label, Label], list[Finding]] = {}
    for host in examined:
        for finding in host.findings:
            groups.setdefault((finding.check, finding.state, finding.text, finding.remedy), []).append(finding)
    folds = [
        Fold(
            check=check,
            state=state,
            text=text,
            remedy=remedy,
            hosts=tuple(f.host for f in found),
            details=tuple(dict.fromkeys(f.detail for f in found if f.detail)),
        )
        for (check, state, text, remedy), found in groups.items()
    ]
    return tuple(sorted(folds, key=lambda f: (_ORDER[f.state], -len(f.hosts))))


def lines(fleet: str, examined: Sequence[Examined]) -> list[str]:
    """What people read: problems, warnings, then what works."""
    rows: list[str] = []
    folds = fold(examined)
    for state in ("problem", "warning", "ok", "skipped"):
        rows += [row for f in folds if f.state == state for row in _fold_lines(f)]
    bad, warned = (sum(e.state == state for e in examined) for state in ("problem", "warning"))
    count = len(examined)
    said = f"{count} host{'' if count == 1 else 's'} of fleet {fleet}: {count - bad - warned} well"
    rows += ["", f"{said}, {warned} with warnings, {bad} with problems"]
    return rows


def _fold_lines(one: Fold) -> Iterable[str]:
    count = len(one.hosts)
    patterns = compress(one.hosts)
    more = f", and {len(patterns) - _SHOWN} more" if len(patterns) > _SHOWN else ""
    who = one.hosts[0] if count == 1 else f"{count} hosts: {', '.join(patterns[:_SHOWN])}{more}"
    detail = f" ({one.details[0]})" if count == 1 and one.details else ""
    if count == 1:
        yield f"{one.state:8} {who}: {one.check}: {one.text}{detail}"
    else:
        yield f"{one.state:8} {one.check}: {one.text}: {who}"
    if one.state in {"problem", "warning"}:
        if count > 1:
            yield from (f"         - {detail}" for detail in one.details[:_DETAILS])
        if one.remedy:
            each = "" if count == 1 or "HOST" not in one.remedy else ", for each HOST of them"
            yield f"         remedy: {one.remedy.replace('HOST', one.hosts[0]) if count == 1 else one.remedy + each}"


class Told(Struct, frozen=True, kw_only=True):
    """One host in ``--json``."""

    host: Label
    state: State
    findings: tuple[Finding, ...]
    facts: dict[str, str | float]


class Report(Struct, frozen=True, kw_only=True):
    """The whole of ``--json``; keys are only added within a version."""

    version: int
    fleet: Label
    state: State
    hosts: tuple[Told, ...]


def report(fleet: str, examined: Sequence[Examined]) -> Report:
    """What programs read."""
    hosts = tuple(
        Told(
            host=one.host,
            state=one.state,
            findings=tuple(_addressed(finding) for finding in one.findings),
            facts=one.facts,
        )
        for one in examined
    )
    worst: State = min((host.state for host in hosts), key=_ORDER.__getitem__, default="ok")
    return Report(version=VERSION, fleet=scrub(fleet), state=worst, hosts=hosts)


def _addressed(finding: Finding) -> Finding:
    remedy = scrub(finding.remedy.replace("HOST", finding.host), 800)
    return Finding(
        host=finding.host, check=finding.check, state=finding.state, text=finding.text, detail=finding.detail,
        remedy=remedy,
    )  # fmt: skip


def exit_code(examined: Iterable[Examined]) -> int:
    """0 when all is well or at least works, 1 when a host has a problem."""
    return int(any(one.state == "problem" for one in examined))
