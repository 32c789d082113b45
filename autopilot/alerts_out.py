"""What is worth waking somebody for, when to say it, and when to say that it is over. Pure.

Something is told once it has been so for a while, with everything else that has the same cause, in
one message; and once more when it has been over for as long. There is a limit an hour: what is beyond
it is told together in the next message, and never lost in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from sidestep.autopilot.frames import Picture
from sidestep.autopilot.world_report import Trouble
from sidestep.fleet.contention import threshold_of
from sidestep.fleet.inventory import AlertKind, AlertsSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, HostState, PlanState
from sidestep.fleet.resources import show_seconds
from sidestep.plugins.notifiers import Notice

HOUR: Final = 3600.0
#: lines of a message, and titles that wait for their turn
LINES: Final = 20
HELD: Final = 50
#: names in a title
NAMED: Final = 3
_BAD_PLANS: Final = frozenset({PlanState.FAILED, PlanState.PARTIAL})
_BAD_HOSTS: Final = frozenset(map(str, (HostState.DEAD, HostState.QUARANTINED)))

Key = tuple[str, str, str]


class Condition(Struct, frozen=True):
    """Something that is so: of ``subject``, in ``topic``. Those with one kind and ``cause`` are told together.

    ``over`` says whether its end is worth a message.
    """

    kind: AlertKind
    topic: str
    subject: Label
    cause: Label
    text: Label
    over: bool = True

    @property
    def key(self) -> Key:
        """The same thing at another time has the same key."""
        return self.kind, self.topic, self.subject


def conditions_of(picture: Picture, troubles: Iterable[Trouble], since: float) -> list[Condition]:
    """Everything that is wrong now; of plans those that ended after ``since`` (unix time)."""
    found = []
    for item in picture.contention:
        threshold = threshold_of(picture.policy, item.dimension)
        when = "now" if item.measured else f"in {show_seconds(item.lead)}, p={item.probability:.2f}"
        text = f"{item.host} {item.dimension} over {threshold:.0%} {when}, peak {item.peak:.0%}"
        cause = scrub(f"{item.dimension} is predicted to run hot")
        found.append(Condition("contention", item.dimension, item.host, cause, scrub(text)))
    for trouble in troubles:
        if trouble.state in _BAD_HOSTS:
            cause = scrub(f"{trouble.state}: {trouble.reason}" if trouble.reason else trouble.state)
            found += [Condition("hosts", "state", host, cause, scrub(f"{host} is {cause}")) for host in trouble.hosts]
    for view in picture.plans:
        status, name = view.status, scrub(f"plan {view.plan.number}")
        person = any(action.state is ActionState.FAILED_NEEDS_HUMAN for action in status.actions)
        if status.updated >= since and (status.state in _BAD_PLANS or person):
            need = ", and needs a person" if person else ""
            text = scrub(f"{name} {status.state}{need}: {status.note}", 1000)
            found.append(Condition("plans", status.state, name, scrub(f"{status.state}{need}"), text, over=False))
    for line in picture.alerts:
        # "a word, a colon, and why": the why may change while it lasts
        found.append(Condition("daemon", str(line).partition(":")[0], Label("daemon"), line, line))
    return found


@dataclass
class _Known:
    condition: Condition
    since: float
    last: float
    told: bool = False


@dataclass
class AlertDesk:
    """``look`` after every tick; returns what is to be sent now."""

    spec: AlertsSpec
    fleet: Label
    _known: dict[Key, _Known] = field(default_factory=dict)
    _sent: deque[float] = field(default_factory=deque)
    _held: list[Label] = field(default_factory=list)
    _dropped: int = 0

    def look(self, conditions: Iterable[Condition], now: float) -> list[Notice]:
        """Take what is so at ``now`` (monotonic seconds)."""
        for condition in conditions:
            if condition.kind in self.spec.kinds:
                known = self._known.setdefault(condition.key, _Known(condition, now, now))
                known.condition, known.last = condition, now
        due = [known for known in self._known.values() if not known.told and self._ripe(known, now)]
        causes = {(known.condition.kind, known.condition.cause) for known in due}
        fresh = [
            known for known in self._known.values()
            if not known.told and known.last == now and (known.condition.kind, known.condition.cause) in causes
        ]  # fmt: skip
        for known in fresh:
            known.told = True
        gone = [known for known in self._known.values() if now - known.last >= self.spec.after and known.last < now]
        for known in gone:
            if known.told and not known.condition.over:
                continue  # remembered, so that it is not told again; plans are few
            del self._known[known.condition.key]
        messages = self._messages(fresh, over=False)
        messages += self._messages([known for known in gone if known.told and known.condition.over], over=True)
        return self._limited(messages, now)

    def _ripe(self, known: _Known, now: float) -> bool:
        if known.last != now:
            return False
        return not known.condition.over or now - known.since >= self.spec.after

    def _messages(self, rows: Iterable[_Known], *, over: bool) -> list[Notice]:
        groups: dict[tuple[str, str], list[Condition]] = {}
        for known in rows:
            groups.setdefault((known.condition.kind, known.condition.cause), []).append(known.condition)
        return [self._message(group, over) for group in groups.values()]

    def _message(self, group: list[Condition], over: bool) -> Notice:
        first = group[0]
        names = ", ".join(condition.subject for condition in group[:NAMED])
        more = f" and {len(group) - NAMED} more" if len(group) > NAMED else ""
        what = first.cause if first.kind == "daemon" else f"{names}{more}: {first.cause}"
        title = scrub(f"sidestep {self.fleet}: {'over: ' if over else ''}{what}")
        lines = [str(condition.text) for condition in group[:LINES]]
        if len(group) > LINES:
            lines.append(f"and {len(group) - LINES} more")
        return Notice(title, "\n".join(lines), over)

    def _limited(self, messages: list[Notice], now: float) -> list[Notice]:
        """At most ``limit`` an hour; the first that may go takes along what had to wait."""
        while self._sent and now - self._sent[0] >= HOUR:
            self._sent.popleft()
        room = self.spec.limit - len(self._sent)
        if room > 0 and self._held and not messages:
            messages = [Notice(scrub(f"sidestep {self.fleet}: what had to wait"), "", False)]
        going, waiting = messages[:room], messages[room:]
        if going and self._held:
            more = [f"and {self._dropped} more"] if self._dropped else []
            body = "\n".join([going[0].body, f"told late, since {self.spec.limit} an hour is the limit:",
                              *self._held, *more]).strip()  # fmt: skip
            going[0] = Notice(going[0].title, body, going[0].over)
            self._held, self._dropped = [], 0
        for message in waiting:
            if len(self._held) < HELD:
                self._held.append(message.title)
            else:
                self._dropped += 1
        self._sent.extend([now] * len(going))
        return going
