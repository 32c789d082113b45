"""Says what happens to hosts: one host in a line of its own, many with one cause in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label, scrub

#: hosts of a burst that get a line of their own
ALONE: Final = 3
#: a burst is told after so many quiet seconds, and at the latest so long after it began
QUIET: Final = 1.5
LATEST: Final = 6.0
#: lines about one host in a minute; what it says beyond is counted
MOST: Final = 12
MINUTE: Final = 60.0
#: hosts that a folded line names
NAMED: Final = 3

Report = Callable[[str], None]
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)*")


class Trouble(Struct, frozen=True):
    """Hosts that are the same for the same reason; ``reason`` is that of the first."""

    state: str
    reason: Label
    hosts: tuple[Label, ...]

    def __str__(self) -> str:
        said = f"{self.state}: {self.reason}" if self.reason else self.state
        if len(self.hosts) == 1:
            return f"{self.hosts[0]}: {said}"
        return f"{len(self.hosts)} hosts: {said} ({_named(self.hosts)})"


def kind_of(spec: HostSpec, text: str) -> str:
    """What a text says apart from which host it says it of: two hosts with one cause have one kind."""
    words = text.replace(spec.address, "#").split(" ") if spec.address else text.split(" ")
    return _NUMBER.sub("#", " ".join("" if word.strip(":,;()'") == spec.name else word for word in words))


def fold(rows: Iterable[tuple[HostSpec, str, Label]]) -> tuple[Trouble, ...]:
    """Hosts with their states and reasons, the same ones together; most hosts first."""
    groups: dict[str, list[tuple[HostSpec, str, Label]]] = {}
    for spec, state, reason in rows:
        groups.setdefault(f"{state} {kind_of(spec, reason)}", []).append((spec, state, reason))
    found = [Trouble(group[0][1], group[0][2], tuple(spec.name for spec, _, _ in group)) for group in groups.values()]
    return tuple(sorted(found, key=lambda trouble: -len(trouble.hosts)))


@dataclass
class _Burst:
    """What is happening to one host after the other."""

    began: float
    last: float
    told: int = 0
    more: list[Label] = field(default_factory=list)
    said: str = ""


@dataclass
class _Quota:
    """How much was said of one host since ``began``."""

    began: float
    said: int = 0
    left_out: int = 0


class Chorus:
    """Reports of many hosts; ``flush`` is to be called a few times a second."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._bursts: dict[str, _Burst] = {}
        self._quotas: dict[Label, _Quota] = {}

    def say(self, spec: HostSpec, text: str, now: float) -> None:
        """Say it of that host at once, or with others soon if many say the same just now."""
        quota = self._quotas.setdefault(spec.name, _Quota(now))
        if quota.said >= MOST:  # one host must not fill the log
            quota.left_out += 1
            return
        quota.said += 1
        kind = kind_of(spec, text)
        burst = self._bursts.setdefault(kind, _Burst(now, now))
        burst.last = now
        if burst.told < ALONE:
            burst.told += 1
            self._report(f"{spec.name}: {text}")
        else:
            if not burst.more:
                burst.began, burst.said = now, text
            burst.more.append(spec.name)

    def flush(self, now: float) -> None:
        """Tell the bursts that have become quiet or long."""
        for kind, burst in tuple(self._bursts.items()):
            quiet = now - burst.last >= QUIET
            if burst.more and (quiet or now - burst.began >= LATEST):
                self._tell(burst)
            if quiet:
                del self._bursts[kind]
        for name, quota in tuple(self._quotas.items()):
            if now - quota.began >= MINUTE:
                del self._quotas[name]
                if quota.left_out:
                    self._report(f"{name}: {quota.left_out} more changes in a minute were left out")

    def finish(self) -> None:
        """Tell what is left."""
        for burst in self._bursts.values():
            if burst.more:
                self._tell(burst)
        self._bursts.clear()

    def _tell(self, burst: _Burst) -> None:
        hosts, burst.more = tuple(burst.more), []
        if len(hosts) == 1:
            self._report(f"{hosts[0]}: {burst.said}")
        else:
            self._report(scrub(f"{len(hosts)} more hosts ({_named(hosts)}): {burst.said}", 2000))


def _named(hosts: tuple[Label, ...]) -> str:
    return ", ".join(hosts[:NAMED]) + (" ..." if len(hosts) > NAMED else "")
