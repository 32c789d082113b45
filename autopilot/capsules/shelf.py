"""The catalogue in memory: read once, written through. The rules about which capsule counts are here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from sidestep.autopilot.capsules.catalogue import Capsule, CapsuleLedger, Copy, CopyState, retained
from sidestep.autopilot.capsules.sites import quorum

#: seconds for which a capsule's new time may be known in memory only: a crash makes it look older than it is
_LAZY: Final = 5.0


class Shelf:
    """All capsules of a fleet, as the journal has them. Every method that changes one raises JournalError."""

    def __init__(self, ledger: CapsuleLedger) -> None:
        self._ledger = ledger
        self._by_shard: dict[str, dict[int, Capsule]] = {}
        for capsule in ledger.capsules():
            self._by_shard.setdefault(capsule.shard, {})[capsule.seq] = capsule
        self._unwritten: dict[tuple[str, int], float] = {}

    @property
    def shards(self) -> tuple[str, ...]:
        """Shards that have any."""
        return tuple(self._by_shard)

    def of(self, shard: str) -> tuple[Capsule, ...]:
        """The shard's capsules, newest first."""
        return tuple(sorted(self._by_shard.get(shard, {}).values(), key=lambda c: c.order, reverse=True))

    def get(self, shard: str, seq: int) -> Capsule | None:
        """That capsule."""
        return self._by_shard.get(shard, {}).get(seq)

    def newest(self, shard: str) -> Capsule | None:
        """The newest complete capsule that can still be had; None if there is none, or it lies on lost hosts only.

        An older one stands in for it only when all of its copies are known to be bad: what is on lost hosts may
        come back, and nobody's acknowledged work is given up for an older state meanwhile.
        """
        for capsule in self.of(shard):
            if not capsule.complete:
                continue
            if capsule.on("good"):
                return capsule
            if capsule.on("lost"):
                return None
        return None

    def out_of_reach(self, shard: str) -> Capsule | None:
        """The newest complete capsule, if all of its copies that are not known to be bad are on lost hosts."""
        known = (capsule for capsule in self.of(shard) if capsule.complete and capsule.on("good", "lost"))
        newest = next(known, None)
        return newest if newest is not None and not newest.on("good") else None

    def next_seq(self, shard: str, now: float) -> int:
        """A number that no capsule of the shard ever had: the time in ms, and more than all that are known."""
        return max(int(now * 1e3), 1 + max(self._by_shard.get(shard, {0: None})))

    def put(self, *capsules: Capsule) -> None:
        """Write these, durable when it returns."""
        self._ledger.put_capsules(capsules)
        for capsule in capsules:
            self._by_shard.setdefault(capsule.shard, {})[capsule.seq] = capsule
            self._unwritten.pop((capsule.shard, capsule.seq), None)

    def refresh(self, capsule: Capsule, now: float) -> None:
        """The same with a later ``taken``; written within seconds, with others."""
        self._by_shard[capsule.shard][capsule.seq] = capsule
        self._unwritten.setdefault((capsule.shard, capsule.seq), now)
        if now - next(iter(self._unwritten.values())) >= _LAZY:
            self.flush()

    def flush(self) -> None:
        """Write what is known in memory only."""
        known = [capsule for key in self._unwritten if (capsule := self.get(*key)) is not None]
        if known:
            self.put(*known)

    def mark(
        self, shard: str, seq: int, host: str, state: CopyState, now: float, *, path: str = "", wanted: int = 0
    ) -> Capsule | None:
        """What is known of one copy. The capsule is complete with a quorum of ``wanted`` good ones (0: leave that)."""
        capsule = self.get(shard, seq)
        if capsule is None or capsule.copy(host) is None:
            return capsule
        copies = tuple(
            replace(c, state=state, checked=now, path=path or c.path) if c.host == host else c for c in capsule.copies
        )
        changed = replace(capsule, copies=copies)
        if wanted and len(changed.on("good")) >= quorum(wanted):
            changed = replace(changed, complete=True)
        self.put(changed)
        return changed

    def seen(self, shard: str, seq: int, host: str, now: float) -> None:
        """A good copy was read, and is good still; written within seconds, with others."""
        if (capsule := self.get(shard, seq)) is not None:
            copies = tuple(replace(c, checked=now) if c.host == host else c for c in capsule.copies)
            self.refresh(replace(capsule, copies=copies), now)

    def expect(self, capsule: Capsule, copies: Iterable[Copy]) -> Capsule:
        """Copies that are about to be written; they take the place of what was known of these hosts."""
        present = self.get(capsule.shard, capsule.seq) or capsule
        new = {copy.host: copy for copy in copies}
        kept = tuple(copy for copy in present.copies if copy.host not in new)
        changed = replace(present, copies=tuple(sorted((*kept, *new.values()), key=lambda copy: copy.host)))
        self.put(changed)
        return changed

    def lose(self, host: str, now: float) -> int:
        """No copy on that host counts until it is seen again; how many there were."""
        return self._turn(host, "good", "lost", now)

    def on_host(self, host: str, *states: CopyState) -> list[tuple[Capsule, Copy]]:
        """All copies on that host in these states (none: in any)."""
        found = []
        for capsules in self._by_shard.values():
            for capsule in capsules.values():
                copy = capsule.copy(host)
                if copy is not None and (not states or copy.state in states):
                    found.append((capsule, copy))
        return found

    def by_host(self) -> dict[str, set[CopyState]]:
        """Every host that has copies, and what is known of them."""
        found: dict[str, set[CopyState]] = {}
        for capsules in self._by_shard.values():
            for capsule in capsules.values():
                for copy in capsule.copies:
                    found.setdefault(copy.host, set()).add(copy.state)
        return found

    def retained(self, shard: str) -> tuple[Capsule, ...]:
        """Those that are kept."""
        return retained(self._by_shard.get(shard, {}).values())

    def surplus(self, shard: str) -> tuple[Capsule, ...]:
        """Those that may go."""
        keep = {capsule.seq for capsule in self.retained(shard)}
        return tuple(capsule for capsule in self.of(shard) if capsule.seq not in keep)

    def leave(self, capsules: Iterable[Capsule]) -> None:
        """All copies of these are about to be removed: none of them counts from now on."""
        changed = [
            replace(capsule, copies=tuple(replace(copy, state="going") for copy in capsule.copies))
            for capsule in capsules
            if set(capsule.on("going")) != {copy.host for copy in capsule.copies}
        ]
        if changed:
            self.put(*changed)

    def gone(self, shard: str, host: str, seqs: Iterable[int]) -> None:
        """That host has no bytes of these any more; a capsule without copies is forgotten."""
        changed, empty = [], []
        for seq in seqs:
            capsule = self.get(shard, seq)
            if capsule is None:
                continue
            rest = tuple(copy for copy in capsule.copies if copy.host != host)
            if rest:
                changed.append(replace(capsule, copies=rest))
            else:
                empty.append(seq)
        if changed:
            self.put(*changed)
        self.forget(shard, empty)

    def forget(self, shard: str, seqs: Iterable[int]) -> None:
        """These have no copies any more."""
        gone = [seq for seq in seqs if self.get(shard, seq) is not None]
        if not gone:
            return
        self._ledger.remove_capsules(shard, gone)
        for seq in gone:
            del self._by_shard[shard][seq]
        if not self._by_shard[shard]:
            del self._by_shard[shard]

    def _turn(self, host: str, old: CopyState, new: CopyState, now: float) -> int:
        found = self.on_host(host, old)
        changed = [
            replace(
                capsule, copies=tuple(replace(c, state=new, checked=now) if c is copy else c for c in capsule.copies)
            )
            for capsule, copy in found
        ]
        if changed:
            self.put(*changed)
        return len(changed)
