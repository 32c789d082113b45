"""The steps that take slots from one master to another while both serve. Each may be repeated at any time.

    open     the target imports, then the source migrates: what is not at the source any more is asked of the target
    carry    MIGRATE, as many keys in one write as keep the source no longer than clients notice, until it has none
    commit   the target takes the slots: from here on only forward; it tells all nodes itself, once
    tell     the source, which may not have heard yet

No step of a slot begins before the one before it was answered, so clients that follow redirections find every key.
A node that hears of a change from another node syncs its configuration to disk before it serves on, for milliseconds.
That is most of what clients notice of a move, so as many slots as may be are committed at once. To tell the masters
first would spare them that; but a target that dies before its replica has heard, and comes back, takes keys with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from sidestep.backends.redis_cluster.client import Answer, Node, Refusal, Word
from sidestep.backends.redis_cluster.job import Leg, Step
from sidestep.backends.redis_cluster.pace import EACH, SHORTEST, Pace, Usual, quantile
from sidestep.backends.redis_cluster.topology import Member
from sidestep.backends.secret import secret
from sidestep.fleet.errors import HostError

#: keys that are asked for at a time, of one slot; and slots whose keys are, in one write
KEYS: Final = 100
LISTED: Final = 8
#: milliseconds that MIGRATE may wait for the target while the source serves nobody, and when it is tried again;
#: and that WAIT may for a replica
MIGRATE_MS: Final = 2000
AGAIN_MS: Final = 8000
WAIT_MS: Final = 1000
#: answers that tell how long nothing takes
PINGS: Final = 15
#: times that keys of a slot may refuse to go
TRIES: Final = 5
STEADY: Final = Pace()
Note = Callable[[Step, Leg, Sequence[int]], None]
After = Callable[[], Awaitable[None]]


class Tally:
    """What was moved so far."""

    def __init__(self) -> None:
        self.slots = self.keys = self.replaced = 0


class Carrier:
    """Takes slots from ``source`` to ``target``, each over a connection of its own."""

    def __init__(
        self, source: Node, target: Node, ends: tuple[Member, Member], note: Note,
        *, slice: float, replicas: int, pace: Pace = STEADY,
    ) -> None:  # fmt: skip
        self.source, self.target, self.ends = source, target, ends
        self.pace = pace
        self._note, self._usual, self._replicas = note, Usual(0.0, slice), replicas
        self._clock = asyncio.get_running_loop().time
        self._owed = 0.0
        password = secret(source.access.password, "--password")
        user = source.access.user
        self._auth: tuple[str, ...] = ("AUTH2", user, password) if user else ("AUTH", password) if password else ()

    async def run(self, slots: Sequence[int], tally: Tally, after: After | None = None) -> None:
        """All steps for these slots, some at a time; ``after`` each. Raises HostError: some are half moved then.

        What ends some slots and what begins the next goes to a node in one write.
        """
        left = list(slots)
        await self._listen()
        now = self._some(left)
        self._log("open", now)
        await self._target((), now)
        await self._source((), now)
        while now:
            self._log("carry", now)
            moved = await self._carry(now, tally)
            following = self._some(left)
            self._log("commit", now)
            if following:
                self._log("open", following)
            await self._target(now, following, wait=moved)
            self._log("tell", now)
            await self._source(now, following)
            self._log("done", now)
            tally.slots += len(now)
            now = following
            if after is not None:
                await after()

    def _some(self, left: list[int]) -> list[int]:
        """The next slots, as many as the pace allows; they are taken off."""
        size = max(1, int(self.pace.slots))
        some = left[:size]
        del left[:size]
        return some

    async def _listen(self) -> None:
        """Learn how long our own connection waits for nothing."""
        took: list[float] = []
        for _ in range(PINGS):
            began = self._clock()
            await self.source.ask("PING", step="probe")
            took.append(self._clock() - began)
        self._usual = Usual(quantile(took, 0.5), self._usual.slice)

    def _log(self, step: Step, slots: Sequence[int]) -> None:
        self._note(step, Leg(self.ends[0].id, self.ends[1].id, tuple(slots)), slots)

    async def bring(self, slot: int) -> None:
        """Take keys of a slot that the target owns to it; those that it has already are dropped here."""
        while keys := _keys(self.source, await self.source.ask("CLUSTER", "GETKEYSINSLOT", slot, KEYS, step="repair")):
            for key in keys:
                (answer,) = await self.source.pipeline([self._command([key])], step="repair")
                if isinstance(answer, Refusal) and "BUSYKEY" in str(answer):
                    _, answer = await self.source.pipeline([("ASKING",), ("DEL", key)], step="repair")
                if isinstance(answer, Refusal):
                    raise HostError(self.source.name, "repair", str(answer))

    async def _target(self, taken: Sequence[int], coming: Sequence[int], *, wait: bool = False) -> None:
        """The target takes slots, all in one transaction, and begins to import others.

        A node that takes a slot which it imports tells every other node, and each of them looks at all slots
        then. So only the last is taken in that way; the others are unmarked and taken just before, and what is
        told has them as well. ``wait``: not before a replica has what was brought, unless that takes long.
        """
        source, target = (one.id for one in self.ends)
        step = "commit" if taken else "open"
        if wait and self._replicas:
            await self.target.ask("WAIT", 1, WAIT_MS, step=step)
        if taken:
            words: list[tuple[Word, ...]] = []
            valkey = await self.target.valkey()  # it can tell of each, since it has told its replicas before
            for slot in taken[:-1]:
                words += [*([] if valkey else [_set(slot, "STABLE")]), _set(slot, "NODE", target)]
            words.append(_set(taken[-1], "NODE", target))
            began = self._clock()
            answers = await self.target.together(words, step=step)
            spent = self._clock() - began
            _raise(self.target, step, answers, words)
            await self._rest(spent)
        words = [_set(slot, "IMPORTING", source) for slot in coming]
        began = self._clock()
        answers = await self.target.pipeline(words, step=step)
        spent = self._clock() - began
        _raise(self.target, step, answers, words)
        await self._rest(spent)

    async def _source(self, gone: Sequence[int], going: Sequence[int]) -> None:
        """The source hears who has slots now, and begins to send others away."""
        target = self.ends[1].id
        step = "tell" if gone else "open"
        words: list[tuple[Word, ...]] = [_set(slot, "NODE", target) for slot in gone]
        words += [_set(slot, "MIGRATING", target) for slot in going]
        began = self._clock()
        answers = await self.source.pipeline(words, step=step)
        spent = self._clock() - began
        _raise(self.source, step, answers, words)
        await self._rest(spent)

    async def _carry(self, slots: Sequence[int], tally: Tally) -> bool:
        """Move all keys of these slots, whatever number of writes it takes, and see that none is left; if any was."""
        tries, left = 0, await self._listed(slots)
        moved = bool(left)
        while left:
            waiting = [(slot, key) for slot, keys in left.items() for key in keys]
            counts: list[Answer] = []
            while waiting:
                taken, waiting = _batch(waiting, self.pace.weight)
                all_went, counts = await self._migrate(taken, [] if waiting else list(left), tally)
                tries = 0 if all_went else tries + 1
            more = [slot for slot, count in zip(left, counts, strict=True) if count != 0]
            if tries > TRIES:
                raise HostError(self.source.name, "carry", f"keys of slot {more[0] if more else '?'} do not go")
            left = await self._listed(more)
            tries += bool(more) and not left
        return moved

    async def _listed(self, slots: Sequence[int]) -> dict[int, list[bytes]]:
        """The first keys of each of these slots that has any."""
        found: dict[int, list[bytes]] = {}
        for begin in range(0, len(slots), LISTED):
            some = slots[begin : begin + LISTED]
            began = self._clock()
            answers = await self.source.pipeline(
                [("CLUSTER", "GETKEYSINSLOT", slot, KEYS) for slot in some], step="carry"
            )
            await self._rest(self._clock() - began)
            found.update({slot: _keys(self.source, answer) for slot, answer in zip(some, answers, strict=True)})
        return {slot: keys for slot, keys in found.items() if keys}

    async def _migrate(
        self, taken: dict[int, list[bytes]], count: Sequence[int], tally: Tally
    ) -> tuple[bool, list[Answer]]:  # fmt: skip
        """One write of keys: whether all of them went, and how many these slots have left.

        Of keys at both ends the owner's, the source's, count.
        """
        counting: list[tuple[Word, ...]] = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in count]
        before = self._clock()
        words = [*(self._command(keys) for keys in taken.values()), *counting]
        answers = await self.source.pipeline(words, step="carry")
        spent = self._clock() - before
        self.pace = self.pace.carried(self._usual.kept(spent), self._usual.slice)
        again: list[list[bytes]] = []
        for keys, answer in zip(taken.values(), answers, strict=False):
            if isinstance(answer, Refusal) and "BUSYKEY" not in str(answer) and answer.code != "IOERR":
                raise HostError(self.source.name, "carry", str(answer))
            if isinstance(answer, Refusal):
                again.append(keys)
            else:
                tally.keys += len(keys)
        await self._rest(spent)
        if not again:
            return True, answers[len(taken) :]
        words = [*(self._command(keys, "REPLACE") for keys in again), *counting]
        answers = await self.source.pipeline(words, step="carry")
        tally.replaced += sum(map(len, again))
        tally.keys += sum(map(len, again))
        return not any(isinstance(answer, Refusal) for answer in answers), answers[len(again) :]

    def _command(self, keys: Iterable[bytes], *options: str) -> tuple[Word, ...]:
        there = self.ends[1]
        return (
            "MIGRATE",
            there.host,
            there.port,
            "",
            0,
            AGAIN_MS if options else MIGRATE_MS,
            *options,
            *self._auth,
            "KEYS",
            *keys,
        )

    async def _rest(self, spent: float) -> None:
        """Leave the node to its clients for as long as the pace says; a loop sleeps no shorter than a millisecond."""
        self._owed += self.pace.rest(self._usual.kept(spent))
        if self._owed >= SHORTEST:
            began = self._clock()
            await asyncio.sleep(self._owed)
            self._owed = max(self._owed - (self._clock() - began), -SHORTEST)


def _set(slot: int, *words: str) -> tuple[Word, ...]:
    return ("CLUSTER", "SETSLOT", slot, *words)


def _batch(
    waiting: list[tuple[int, bytes]], weight: float
) -> tuple[dict[int, list[bytes]], list[tuple[int, bytes]]]:  # fmt: skip
    """As many keys as weigh so much, at least one, by slot, since MIGRATE takes keys of one slot; and the rest."""
    taken: dict[int, list[bytes]] = {}
    spent = 0.0
    for at, (slot, key) in enumerate(waiting):
        spent += 1.0 if slot in taken else EACH + 1.0
        if taken and spent > weight:
            return taken, waiting[at:]
        taken.setdefault(slot, []).append(key)
    return taken, []


def _keys(node: Node, answer: Answer) -> list[bytes]:
    if isinstance(answer, list) and all(isinstance(key, bytes) for key in answer):
        return answer
    raise HostError(node.name, "carry", str(answer), command="CLUSTER GETKEYSINSLOT")


def _raise(node: Node, step: str, answers: Sequence[Answer], commands: Sequence[Sequence[Word]]) -> None:
    for answer, words in zip(answers, commands, strict=True):
        if isinstance(answer, Refusal):
            raise HostError(node.name, step, str(answer), command=" ".join(map(str, words)))
