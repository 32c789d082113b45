"""Whether a shard could be on a host, and every reason why not, with amounts and instants.

Reasons are looked for one by one and all are told; the first is the one that stands first in
``_LOOK``: what keeps the shard, what the host says, what rules say, and only then numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Plan, Reason
from sidestep.fleet.policies import effective
from sidestep.fleet.questions import Obstacle
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, show_seconds, show_size
from sidestep.planning.build import Built, build
from sidestep.planning.model import Move, State
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.queries.whatif import World
from sidestep.planning.rejected import forbidden
from sidestep.planning.rows import DOMAINS
from sidestep.planning.rules import WHY_HOST_NOT, WHY_SHARD_NOT

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ground:
    """One instant of planning, to be asked about shards and hosts by row."""

    built: Built

    @classmethod
    def of(cls, world: World, busy: frozenset[str] = frozenset(), settling: frozenset[str] = frozenset()) -> Ground:
        """The problem that the planner would make of this world."""
        policy = effective(world.policy)
        return cls(
            build(
                world.snapshot,
                world.forecast,
                policy,
                world.placement,
                world.fleet,
                busy=busy,
                settling=settling,
                constraints=world.constraints,
            )
        )

    @cached_property
    def start(self) -> State:
        """Nothing has moved."""
        return State(self.built.problem)

    @cached_property
    def hot(self) -> Mask:
        """(H,) hosts in predicted contention, which receive nothing."""
        closed = np.zeros(self.built.problem.hosts, dtype=np.bool_)
        closed[list(self.built.contentions)] = True
        return closed

    def row(self, shard: int) -> int:
        """The row of the problem that a shard is in, alone or in a bundle."""
        return int(self.built.rows.row_of[shard])

    def kept(self, shard: int) -> Reason | None:
        """Why the shard does not move at all, whatever the host."""
        rules, load = self.built.rules, self.built.load
        code = rules.kept[shard] or ("" if load.known[shard] else "UNKNOWN")
        if code:
            name = rules.shard_names[shard]
            why = rules.unable(name, int(rules.host[shard])) if code == "INCAPABLE" else ""
            return Reason(code, scrub(f"it {WHY_SHARD_NOT[code]}{f': {why}' if why else ''}"))
        for other in self.built.rows.shards[self.row(shard)]:
            code = rules.kept[other] or ("" if load.known[other] else "UNKNOWN")
            if code:
                return Reason(
                    code, scrub(f"it moves only with {rules.shard_names[other]}, which {WHY_SHARD_NOT[code]}")
                )
        source = int(rules.host[shard])
        if source >= 0 and (code := rules.gives(source)):
            return Reason(code, scrub(f"its host {rules.host_names[source]} {WHY_HOST_NOT[code]}"))
        return None

    def received(self, host: int) -> Reason | None:
        """Why a host takes nothing at all."""
        built = self.built
        code = built.rules.received[host] or ("" if built.problem.accepts[host] else "STANDBY")
        if code:
            return Reason(code, Label(WHY_HOST_NOT[code]))
        if self.hot[host]:
            first = built.contentions[host][0]
            text = f"is in predicted contention itself: {first.dimension} {first.probability:.0%} in "
            return Reason("HOT", scrub(text + show_seconds(first.lead)))
        return None

    def ruled_out(self, row: int, host: int) -> list[Reason]:
        """The rules that keep a row from a host, given where all are now."""
        constraints = self.built.problem.constraints
        at, found = self.start.at, list[Reason]()
        forbids = self.built.judged.against(self.built.rows.shards[row], host)
        rules, shards = self.built.rules, self.built.rows.shards[row]
        unable = next((why for shard in shards if (why := rules.unable(rules.shard_names[int(shard)], host))), "")
        if forbids:
            found.append(Reason("FORBIDDEN", forbidden(forbids)))
        elif unable:
            found.append(Reason("INCAPABLE", scrub(unable)))
        elif not constraints.masks[constraints.mask[row], host]:
            found.append(
                Reason("NOT_ALLOWED", Label("lacks a label that it requires, or what it must be near is elsewhere"))
            )
        others = constraints.avoided(row)
        there = [self._named(int(o)) for o in others[at[others] == host].tolist()]
        if there:
            found.append(Reason("AVOID", scrub(f"holds {', '.join(there[:4])}, which must not meet it")))
        for group in constraints.groups_of(row).tolist():
            domain = constraints.domains[constraints.kind[group]]
            members = constraints.members_of(group)
            members = members[(members != row) & (at[members] >= 0)]
            same = members[domain[at[members]] == domain[host]]
            most = int(constraints.most[group])
            if len(same) >= most:
                kind = DOMAINS[int(constraints.kind[group])]
                names = ", ".join(self._named(int(o)) for o in same[:4])
                found.append(Reason("AVOID", scrub(f"its {kind} holds {names}; at most {most} may be in one")))
        return found

    def _named(self, row: int) -> str:
        return str(self.built.rules.shard_names[self.built.rows.shards[row][0]])

    def lacks(self, row: int, host: int) -> list[Obstacle]:
        """What the host lacks for the row, a dimension each, at the quantile at which hosts must fit."""
        p, load = self.built.problem, self.built.load
        upper = self.start.arrivals(row, np.array([host]))[0]
        over = upper - p.room[host]
        asks = (p.mean[row] > 0) | (p.sd[row] > 0)
        short = asks & (over > TOLERANCE * p.capacity[host])
        found: list[Obstacle] = []
        for dimension in range(p.dimensions):
            columns = np.arange(dimension * p.steps, (dimension + 1) * p.steps)
            hit = columns[short[columns]]
            if hit.size:
                worst = int(hit[over[hit].argmax()])
                first, most = (float((int(c) % p.steps + 1) * load.step) for c in (hit[0], worst))
                at = f"{show_seconds(most)} from now, at the {load.strict.level:.0%} quantile"
                text = f"lacks {amount(dimension, over[worst])} {at}"
                if first < most:
                    text += f", and less from {show_seconds(first)} on"
                if upper[worst] <= p.limit[host, worst]:
                    text += "; it would fit without the room that is kept for failures"
                found.append(
                    Obstacle(
                        reason=Reason("NO_ROOM", scrub(text)),
                        dimension=DIMENSIONS[dimension],
                        lacks=float(over[worst]),
                        at=most,
                        since=first,
                    )
                )
        for column in range(p.timed, len(upper)):
            if short[column]:
                text = f"lacks {show_size(over[column])} of disk"
                found.append(
                    Obstacle(reason=Reason("NO_ROOM", scrub(text)), dimension="disk", lacks=float(over[column]))
                )
        return found

    def obstacles(self, shard: int, host: int) -> list[Obstacle]:
        """Everything that keeps a shard from a host as things are, the first one first."""
        row = self.row(shard)
        found = [self.kept(shard), self.received(host), *self.ruled_out(row, host)]
        return [*(Obstacle(reason=reason) for reason in found if reason is not None), *self.lacks(row, host)]

    def peaks(self, row: int) -> F64:
        """(H,) highest demand with the row there, a fraction of capacity; minus infinity where unknown."""
        p = self.built.problem
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.start.arrivals(row)[:, : p.timed] / p.capacity[:, : p.timed]
        return np.asarray(np.nan_to_num(share, nan=-np.inf).max(axis=1, initial=-np.inf), dtype=np.float64)

    def able(self, row: int) -> Mask:
        """(H,) hosts that could take the row as things are; one line of arithmetic over the fleet."""
        p = self.built.problem
        return np.asarray(
            p.accepts & ~self.hot & ~p.constraints.blocked(self.start.at, row) & (self.start.spare(row) >= -TOLERANCE),
            dtype=np.bool_,
        )

    def moves(self, plan: Plan) -> list[Move]:
        """The moves of a plan by rows, each bundle once; what no longer fits the snapshot is left out."""
        rules, made, seen = self.built.rules, list[Move](), set[int]()
        for action in plan.actions:
            shard, source = rules.shard_row.get(action.shard), rules.host_row.get(action.source)
            host = rules.host_row.get(action.destination)
            if action.kind not in ("migrate", "failover") or shard is None or source is None or host is None:
                continue
            row = self.row(shard)
            if row not in seen:
                seen.add(row)
                made.append(Move(row, source, host, source))
        return made


def amount(dimension: int, value: float) -> str:
    """An amount in words: so many cores or bytes of a dimension."""
    if dimension == CPU:
        return f"{value:.2f} cores of cpu"
    return (
        f"{show_size(value)} of {DIMENSIONS[dimension]}"
        if dimension == MEMORY
        else f"{value:g} {DIMENSIONS[dimension]}"
    )
