"""What every host is, in columns: a look at all of them costs a few array operations.

Python works only for the hosts whose state or reason changes. A state follows from how old the
newest sample is *by the host's own clock*, so that what a link held back and then delivered
does not pass for the present.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HOST, HostState, advance

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: intervals without a sample until a host is SUSPECT, but at least SUSPECT_SECONDS: at one a second the third
#: one after a cut is missed within 3 s, the time until it is looked at included
SUSPECT_MISSED: Final = 2.6
SUSPECT_SECONDS: Final = 1.5
#: the same until it is DEAD
DEAD_MISSED: Final = 10
DEAD_SECONDS: Final = 10.0
#: and so long must a link be broken, for one that is made again at once is none
BROKEN_SECONDS: Final = 3.0
#: a look that comes so late finds sockets unread: nobody is blamed before the next one
STALL: Final = 1.0
#: how fast a host's clock may drift from ours, seconds a second
DRIFT: Final = 2e-4
#: a loss counts half after so long; from the third one on, a host must be steady before it is READY
FORGET: Final = 60.0
FLAPS: Final = 2.5
LONGEST_HOLD: Final = 30.0

STATES: Final = tuple(HostState)
_CODE: Final = {state: code for code, state in enumerate(STATES)}
_READY, _SUSPECT, _DEAD, _CORDONED, _QUARANTINED, _DRAINING, _DRAINED = (
    _CODE[state]
    for state in (
        HostState.READY,
        HostState.SUSPECT,
        HostState.DEAD,
        HostState.CORDONED,
        HostState.QUARANTINED,
        HostState.DRAINING,
        HostState.DRAINED,
    )
)

#: states that people ask for; a host that comes back enters them by way of READY
ORDERED: Final = frozenset({HostState.CORDONED, HostState.DRAINING, HostState.DRAINED})

Changed = Callable[[int, HostState, Label], None]


class States:
    """The states of all hosts and the reasons; ``changed`` is told of every difference."""

    def __init__(self, specs: Sequence[HostSpec], interval: float, now: float, changed: Changed) -> None:
        count = len(specs)
        self.suspect_after = max(SUSPECT_MISSED * interval, SUSPECT_SECONDS)
        self.dead_after = max(DEAD_MISSED * interval, DEAD_SECONDS)
        self._changed = changed
        self._specs = specs
        #: by row, why nothing new is placed there though the host is up
        self._quarantined: dict[int, Label] = {}
        #: by row, what people ordered it to be while it is up, and why
        self._ordered: dict[int, tuple[HostState, Label]] = {}
        self._up = self._when_up()
        self.codes = np.full(count, _CODE[HostState.UNKNOWN], dtype=np.int8)
        self.states: list[HostState] = [HostState.UNKNOWN] * count
        self.reasons: list[Label] = [scrub("connecting")] * count
        #: rises with every change of a state or reason
        self.version = 0
        #: what is wrong since the newest sample; "" is nothing
        self._errors: list[Label] = [Label("")] * count
        #: the last failure since the newest sample, and the first
        self.failed_at, self._broken_at = np.full(count, -np.inf), np.full(count, -np.inf)
        self.refused = np.zeros(count, dtype=np.bool_)
        #: how much older the newest sample is than its arrival says
        self.lag = np.zeros(count)
        self._started = np.full(count, now)
        #: rows whose error changed
        self._news: set[int] = set()
        self._late = np.zeros(count, dtype=np.bool_)
        self._late_since = np.full(count, np.inf)
        self._held = np.zeros(count, dtype=np.bool_)
        self._steady = np.full(count, np.inf)
        self._hold = np.zeros(count)
        self._losses = np.zeros(count)
        self._lost_at = np.full(count, -np.inf)
        self._judged = now
        #: at the last look all hosts were up, and nothing spoke against it
        self._quiet = False
        # clocks: per run, arrival minus the host's own time, at its lowest
        self._floor = np.full(count, np.inf)
        self._seq = np.full(count, -1, dtype=np.int64)
        self._seen = np.full(count, -np.inf)

    def cordon(self, specs: Sequence[HostSpec]) -> None:
        """Take which hosts are cordoned now; the next look shows it."""
        self._specs = specs
        self._up, self._quiet = self._when_up(), False

    def quarantine(self, why: Mapping[int, Label]) -> None:
        """Take which hosts are QUARANTINED while they are up, all of them, and why; the next look shows it."""
        if why == self._quarantined:
            return
        self._news |= {row for row in why if why[row] != self._quarantined.get(row)}
        self._quarantined = dict(why)
        self._up, self._quiet = self._when_up(), False

    def order(self, wanted: Mapping[int, tuple[HostState, Label]]) -> None:
        """Take which hosts are CORDONED, DRAINING or DRAINED by order while they are up, all of them, and why."""
        if wanted == self._ordered:
            return
        self._news |= {row for row in {*wanted, *self._ordered} if wanted.get(row) != self._ordered.get(row)}
        self._ordered = dict(wanted)
        self._up, self._quiet = self._when_up(), False

    # -- what watches say

    def failed(self, row: int, error: Label, now: float) -> None:
        """Something is wrong with that host, until its next sample."""
        if self.failed_at[row] == -np.inf:
            self._broken_at[row] = now
        self._errors[row], self.failed_at[row] = error, now
        self._news.add(row)

    def refuse(self, row: int, refused: bool) -> None:
        """The host refuses us, or may be tried again."""
        self.refused[row] = refused
        if not refused:
            self._errors[row], self.failed_at[row] = Label(""), -np.inf
        self._news.add(row)

    def begun(self, row: int) -> None:
        """A sampler run begins: its clock is compared afresh."""
        self._floor[row], self._seq[row] = np.inf, -1

    # -- looks

    @property
    def trouble(self) -> Mask:
        """Hosts with something wrong since their newest sample."""
        return np.asarray(self.failed_at > -np.inf, dtype=np.bool_)

    @property
    def fresh(self) -> Mask:
        """Hosts whose newest sample still says how they are."""
        return np.isin(self.codes, (_READY, _CORDONED, _QUARANTINED, _DRAINING, _DRAINED))

    def heard(self, seen: F64) -> F64:
        """(H,) our monotonic time at which the newest sample was taken; -inf before the first."""
        return np.asarray(seen - self.lag, dtype=np.float64)

    def arrived(self, seq: I64, at_ms: I64, seen: F64) -> None:
        """Compare clocks where new samples were decoded.

        A sample that travelled without waiting has the lowest difference of arrival and its own
        time; what another one has above that is how long it was held back.
        """
        rows = np.flatnonzero(seq != self._seq)
        if not len(rows):
            return
        difference = seen[rows] - at_ms[rows] / 1e3
        with np.errstate(invalid="ignore"):
            drift = np.nan_to_num(seen[rows] - self._seen[rows], posinf=0.0) * DRIFT
        self._floor[rows] = np.minimum(self._floor[rows] + drift, difference)
        self.lag[rows] = difference - self._floor[rows]
        self._seq[rows], self._seen[rows] = seq[rows], seen[rows]

    def healed(self, seen: F64) -> list[int]:
        """Rows that had trouble and gave a sample since; their trouble is forgotten."""
        rows = np.flatnonzero((seen > self.failed_at) & self.trouble & ~self.refused).tolist()
        for row in rows:
            self._errors[row], self.failed_at[row] = Label(""), -np.inf
            self._news.add(row)
        return [int(row) for row in rows]

    def calm(self, seen: F64, now: float) -> bool:
        """Look cheaply: True when all were up at the last look and none is silent for long, so nothing changes."""
        if not self._quiet or self._news or now - self._judged > STALL:
            return False
        if now - (seen - self.lag).min(initial=now) > self.suspect_after:
            return False
        self._judged = now
        return True

    def judge(self, seen: F64, now: float) -> None:
        """Bring all states up to date with the clock."""
        heard = self.heard(seen)
        silent = now - np.maximum(heard, self._started)
        never = np.isneginf(seen)
        late = ~never & (now - seen <= self.suspect_after) & (silent > self.suspect_after)
        want = self._up.copy()
        want[never | (silent > self.suspect_after)] = _SUSPECT
        # with long intervals: a link that is known to be broken tells more than samples that are not yet due
        gone = self.trouble & (silent > DEAD_SECONDS) & (now - self._broken_at > BROKEN_SECONDS)
        want[gone | (silent > self.dead_after)] = _DEAD
        want[self.refused] = _DEAD
        held = self._unsteady(want, now)
        want[held] = _SUSPECT
        still = never & ~self.trouble & ~self.refused & (silent <= self.dead_after)
        if now - self._judged > STALL:  # we slept, not they
            still |= self.fresh & ~self.refused
        self._judged = now
        want[still] = self.codes[still]
        different = (want != self.codes) | (late != self._late) | (held != self._held)
        self._late, self._held = late, held
        self._quiet = not (never.any() or late.any() or self.trouble.any() or (want != self._up).any())
        self._late_since = np.where(late, np.minimum(self._late_since, now), np.inf)
        rows = set(np.flatnonzero(different).tolist()) | self._news
        self._news = set()
        for row in sorted(rows):
            self._enter(row, int(want[row]), now)

    def stalled(self, seen: F64, began: F64, now: float) -> list[int]:
        """Rows whose sampler, running since ``began`` (inf where none does), says nothing or only old things.

        Old things for ever come from a host that was suspended: its clock is behind since.
        """
        silent = now - np.maximum(np.maximum(self.heard(seen), began), self._started)
        late = now - np.maximum(self._late_since, began)
        stalled = (np.maximum(silent, late) > self.dead_after) & ~np.isinf(began)
        return [int(row) for row in np.flatnonzero(stalled)]

    def _unsteady(self, want: NDArray[np.int8], now: float) -> Mask:
        """Hosts that would be up again, but were lost too often lately: they must be steady for a while."""
        good = want == self._up
        self._steady[~good] = np.inf
        self._steady[good & np.isinf(self._steady)] = now
        return np.asarray(good & (self.codes != self._up) & (now - self._steady < self._hold), dtype=np.bool_)

    def _enter(self, row: int, code: int, now: float) -> None:
        new, old = STATES[code], self.states[row]
        reason = self._why(row, new)
        if new is old and reason == self.reasons[row]:
            return
        if new is not old:
            if new in ORDERED and old in (HostState.DEAD, HostState.UNKNOWN):
                old = advance(HOST, old, HostState.READY)
            if new is HostState.DRAINED and old is not HostState.DRAINING:
                old = advance(HOST, old, HostState.DRAINING)
            self.states[row] = advance(HOST, old, new)
            if self.codes[row] == self._up[row]:
                self._lost(row, now)
            self.codes[row] = code
        self.reasons[row] = reason
        self.version += 1
        self._changed(row, new, reason)

    def _when_up(self) -> NDArray[np.int8]:
        """What each host is when nothing speaks against it."""
        up = np.array([_CORDONED if spec.cordoned else _READY for spec in self._specs], dtype=np.int8)
        rows = [row for row in self._quarantined if up[row] == _READY]
        up[rows] = _QUARANTINED
        for row, (state, _) in self._ordered.items():
            up[row] = _CODE[state]
        return up

    def _lost(self, row: int, now: float) -> None:
        self._losses[row] = 1.0 + self._losses[row] * 0.5 ** ((now - self._lost_at[row]) / FORGET)
        self._lost_at[row] = now
        many = self._losses[row] - FLAPS
        self._hold[row] = 0.0 if many < 0 else min(LONGEST_HOLD, 2.0 ** (1.0 + many))

    def _why(self, row: int, state: HostState) -> Label:
        if state in (HostState.UNKNOWN, HostState.READY):
            return self.reasons[row] if state is HostState.UNKNOWN else Label("")
        if state in ORDERED:
            return self._ordered[row][1] if row in self._ordered else scrub("cordoned in the fleet file")
        if state is HostState.QUARANTINED:
            return self._quarantined.get(row, Label(""))
        if self._held[row]:
            return scrub(f"lost {self._losses[row]:.0f} times of late; READY once it is steady")
        if self._late[row]:
            return scrub("its samples arrive late")
        silence = f"no sample for more than {self.dead_after:.0f} s" if state is HostState.DEAD else "3 samples missed"
        return self._errors[row] or scrub(silence)
