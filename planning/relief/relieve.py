"""Relief with the fewest moves: better and better plans, and what no plan can go below."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from sidestep.planning.model import Budget, Duty, Left, Move, Outcome, Problem
from sidestep.planning.relief.bound import least_count, per_host
from sidestep.planning.relief.desk import Desk
from sidestep.planning.relief.eject import settle
from sidestep.planning.relief.giants import Giants
from sidestep.planning.relief.goals import DEFAULT, Place, Prefer, Rating, Tasks
from sidestep.planning.relief.order import sequence, trim
from sidestep.planning.relief.reasons import reason
from sidestep.planning.relief.serve import Server

#: rounds without a better plan after which the search ends
VAIN = 1
#: moves that a duty left undone is blamed for
UNDONE = 5
#: no churn budget
UNLIMITED = sys.maxsize


def relieve(
    problem: Problem,
    duties: Sequence[Duty],
    *,
    budget: Budget | None = None,
    max_moves: int = UNLIMITED,
    prefer: Prefer = "moves",
    places: tuple[Place, ...] = DEFAULT,
    previous: Sequence[Move] = (),
) -> Iterator[Outcome]:
    """Plans that do the duties, each at least as good as the one before; the last one is final.

    What is least counts first: duties undone by level, of those the soonest; then moves as
    ``Problem.count`` counts them (bytes where ``prefer`` says so), then the other of the two; then the
    goals of ``places`` for destinations, in order. ``previous`` are the moves of a plan that was
    shown already: a change against it costs a little. The same arguments give the same moves.
    """
    run = _Run(problem, tuple(duties), budget or Budget(), max_moves, prefer, places, tuple(previous))
    yield from run.outcomes()


def final(
    problem: Problem,
    duties: Sequence[Duty],
    *,
    budget: Budget | None = None,
    max_moves: int = UNLIMITED,
    prefer: Prefer = "moves",
    places: tuple[Place, ...] = DEFAULT,
    previous: Sequence[Move] = (),
) -> Outcome:
    """The last plan of ``relieve``."""
    *_, last = relieve(
        problem, duties, budget=budget, max_moves=max_moves, prefer=prefer, places=places, previous=previous
    )
    return last


class _Run:
    """One run: the desk, the best plan so far, and what is proven."""

    def __init__(
        self,
        problem: Problem,
        duties: tuple[Duty, ...],
        budget: Budget,
        max_moves: int,
        prefer: Prefer,
        places: tuple[Place, ...],
        previous: tuple[Move, ...],
    ) -> None:
        self.problem, self.budget, self.previous = problem, budget, previous
        self.tasks = Tasks(problem, duties, previous, prefer)
        self.desk = Desk(self.tasks, places, max_moves)
        self.server = Server(self.desk)
        self.best: tuple[Rating, tuple[Move, ...]] | None = None
        self.cut = False
        self._least: dict[int, int] = {}
        self.last: Outcome | None = None
        self._added: dict[tuple[int, ...], int] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """See ``relieve``."""
        self.resume()
        soon = self.tasks.prefer == "moves" and not self.previous
        left = self.server.first(self.tasks.duties, soon=soon)
        self.keep()
        yield self.outcome(searching=True)
        if soon:
            self.smooth()
        self.rest(left)
        yield self.outcome()
        yield from self.improve()
        if not self.previous:
            # who has seen a plan would rather keep it than save a move by several other actions
            yield from self.mended()

    def smooth(self) -> None:
        """Do anew what took more moves than its fewest: the first plan's large covers are rough."""
        for index in self.spent():
            if not self.expired():
                self.redo(index)

    def redo(self, index: int) -> bool:
        """Do a duty of contention with fewer moves than now, or leave all as it is."""
        desk, duty = self.desk, self.tasks.duties[index]
        own = [move.shard for move in desk.state.moves if move.relieves == duty.host]
        if duty.kind != "contention" or not own:
            return False
        saved = tuple(desk.state.moves)
        for shard in own:
            desk.take(shard)
        if self.server.again(duty, most=int(self.problem.count[own].sum()) - 1):
            return True
        desk.back(saved)
        return False

    def rest(self, left: Sequence[Duty]) -> None:
        """Do one by one what is left, and take back what that made needless."""
        for duty in left:
            if self.expired():
                break
            self.server.again(duty)
        trim(self.desk)
        self.keep()

    def mended(self) -> Iterator[Outcome]:
        """Duty by duty, what costs more than its fewest done anew while all others stay in place."""
        better = True
        while better and not self.proven():
            better = self.mend()
            if better:
                yield self.outcome()

    def mend(self) -> bool:
        """Do one duty with fewer moves than now, and nothing else worse; whether there is one."""
        spent = self.spent()
        for index in sorted(spent, key=lambda index: (-spent[index], index)):
            assert self.best is not None
            before, saved = self.best[0], tuple(self.desk.state.moves)
            if not self.expired() and self.redo(index):
                self.rest(())
                if self.best[0] < before:
                    return True
            self.desk.back(saved)
        return False

    def improve(self) -> Iterator[Outcome]:
        """Begin again with what cost most, as long as that helps: the hardest find the most room."""
        blame: dict[int, float] = {}
        vain = 0
        while vain < VAIN and not self.expired() and not self.proven():
            assert self.best is not None
            before = self.best[0]
            for index, more in self.spent().items():
                blame[index] = blame.get(index, 0.0) + more
            duties = self.tasks.duties
            order = sorted(blame, key=lambda index: (duties[index].level, -blame[index], index))
            self.desk.reset(0)
            if self.previous:
                self.resume()
            for index in order:
                self.server.again(duties[index])
            self.rest(self.server.first(duties))
            vain = vain + 1 if before <= self.best[0] else 0
            if not vain:
                yield self.outcome()

    def spent(self) -> dict[int, float]:
        """By duty, how many moves the best plan makes for it beyond the fewest; undone ones count some."""
        assert self.best is not None
        count: dict[int, int] = {}
        for move in self.best[1]:
            count[move.relieves] = count.get(move.relieves, 0) + int(self.problem.count[move.shard])
        done = self.tasks.done(self.desk.state).tolist()
        found: dict[int, float] = {}
        for index, duty in enumerate(self.tasks.duties):
            if duty.kind == "contention" and done[index]:
                more = count.get(duty.host, 0) - self.least(index, duty)
            else:
                more = 0 if done[index] else UNDONE
            if more > 0:
                found[index] = more
        return found

    def proven(self) -> bool:
        """Whether the best plan does everything with as few moves as any plan."""
        last = self.last
        return last is not None and last.proven and not last.left

    def resume(self) -> None:
        """Begin with what is still possible and still needed of the plan shown before."""
        desk = self.desk
        for move in self.previous:
            if desk.free[move.shard] and self.problem.host[move.shard] == move.source and desk.affords([move.shard]):
                settle(desk, move.shard, move.destination, move.relieves)
        if desk.state.moves:
            trim(desk)

    def expired(self) -> bool:
        """Whether the budget is spent; notes it if it was the caller's clock that ended it."""
        if self.desk.steps >= self.budget.iterations:
            return True
        self.cut = self.cut or self.budget.expired()
        return self.cut

    def keep(self) -> None:
        """Remember the desk's plan if it is the best so far, else go back to the best."""
        ordered, refused = sequence(self.problem, self.desk.state)
        for move in refused:
            self.desk.take(move.shard)
        if refused:
            trim(self.desk)
            ordered, _ = sequence(self.problem, self.desk.state)
        self.desk.back(ordered)
        rating = self.tasks.rate(self.tasks.done(self.desk.state), ordered)
        if self.best is None or rating < self.best[0]:
            self.best = (rating, ordered)
        else:
            self.desk.back(self.best[1])

    def outcome(self, *, searching: bool = False) -> Outcome:
        """The best plan so far."""
        assert self.best is not None
        done = self.tasks.done(self.desk.state)
        served = [duty for duty, good in zip(self.tasks.duties, done.tolist(), strict=True) if good]
        undone = [duty for duty, good in zip(self.tasks.duties, done.tolist(), strict=True) if not good]
        bound = 0 if searching else self.bound(served)
        left = tuple(
            Left(duty=duty, code="BUDGET") if searching else reason(self.server, duty, ended=self.cut)
            for duty in undone
        )
        self.last = Outcome(
            moves=self.best[1],
            left=left,
            bound=bound,
            proven=not searching and bound >= self.desk.count,
            iterations=self.desk.steps,
            cut=self.cut,
        )
        return self.last

    def bound(self, served: Sequence[Duty]) -> int:
        """A number of moves that no plan doing the same duties can go below."""
        covers: dict[int, int] = {}
        for duty in served:
            if duty.kind == "contention":
                key = self.server.number(duty)
                covers[duty.host] = max(covers.get(duty.host, 0), self.least(key, duty))
        total = per_host(self.desk, served, covers)
        if total >= self.desk.count or not Giants.usable(self.desk):
            return total
        return total + self._forced(served, covers)

    def least(self, index: int, duty: Duty) -> int:
        """The fewest moves by which a duty of contention is done at all."""
        if index not in self._least:
            self._least[index] = least_count(self.desk, self.server.fresh(duty))
        return self._least[index]

    def _forced(self, served: Sequence[Duty], covers: dict[int, int]) -> int:
        """What giants add to the bound."""
        key = tuple(self.server.number(duty) for duty in served)
        if key not in self._added:
            self._added[key] = self._giants(served, covers)
        return self._added[key]

    def _giants(self, served: Sequence[Duty], covers: dict[int, int]) -> int:
        base = dict(covers)
        for duty in served:
            if duty.kind != "contention":
                for shard in duty.shards:
                    host = int(self.problem.host[shard])
                    base[host] = base.get(host, 0) + 1
        reliefs = [
            (self.server.fresh(duty), covers[duty.host])
            for duty in served
            if duty.kind == "contention" and not self._met_at_start(duty)
        ]
        self.giants = giants = Giants(self.desk, base, reliefs)
        return giants.match()[0]

    def _met_at_start(self, duty: Duty) -> bool:
        return not len(self.server.fresh(duty).columns)
