"""Whatever runs first of what may run: every prefix of an order is feasible and no worse than the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orders import ordered, settled, shuffled

from sidestep.planning.model import Problem
from sidestep.planning.ordering import Caps, Schedule, verify

many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
fleets = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "fill": st.sampled_from([0.6, 0.85, 0.95, 1.0]),
        "share": st.sampled_from([0.2, 0.5, 0.9]),
        "noise": st.sampled_from([0.0, 0.0, 0.2]),
        "zones": st.sampled_from([0, 2]),
        "pairs": st.sampled_from([0, 12]),
    }
)


class World:
    """Where shards are, counted the slow way."""

    def __init__(self, made: Problem, order: Schedule) -> None:
        self.made, self.order = made, order
        self.at = [{int(host)} for host in made.host]
        #: (N, H) the step from which on a shard can be there
        self.since = np.zeros((made.shards, made.hosts), dtype=int)
        self.since[order.shard, order.destination] = np.round(order.earliest / order.step)
        self.since[np.arange(made.shards), made.host] = 0
        self.step_of = np.arange(made.limit.shape[1]) % made.steps
        self.start = self.demand()
        known = made.limit > 0
        self.ceiling = max(order.ceiling, float((self.start[known] / made.limit[known]).max()))

    def demand(self) -> np.ndarray:
        mean, var, dev = (np.zeros(self.made.median.shape) for _ in range(3))
        for shard, hosts in enumerate(self.at):
            sd = self.made.sd[shard].astype(np.float64)
            for host in hosts:
                there = self.step_of >= self.since[shard, host]
                mean[host] += self.made.mean[shard] * there
                var[host] += sd**2 * there
                dev[host] += sd * there
        made = self.made
        return np.asarray(mean + made.z * np.sqrt((1 - made.rho) * var + made.rho * dev**2))

    def check(self) -> None:
        now, made = self.demand(), self.made
        assert (now <= np.maximum(made.room, self.start) * (1 + 1e-6) + 1e-9).all()
        assert (now <= self.ceiling * made.limit * (1 + 1e-6) + 1e-9).all()
        rules = made.constraints
        for group, most in enumerate(rules.most.tolist()):
            domain = rules.domains[rules.kind[group]]
            members = rules.members_of(group).tolist()
            held = [{int(domain[host]) for host in self.at[m]} for m in members]
            for number in set().union(*held):
                before = sum(int(domain[made.host[m]]) == number for m in members)
                assert sum(number in some for some in held) <= max(most, before)
        for shard in range(made.shards):
            for other in rules.avoided(shard).tolist():
                assert not (self.at[shard] & self.at[other]) or made.host[shard] == made.host[other]


def run_at_random(made: Problem, order: Schedule, caps: Caps, rng: np.random.Generator) -> None:
    """Any order that ``after`` and the caps allow, starts and ends mixed at random."""
    world, done, running = World(made, order), set[int](), list[int]()
    waiting = list(range(len(order)))
    while waiting or running:
        ready = [row for row in waiting if set(order.waits(row).tolist()) <= done]
        if caps.host:
            busy = [h for row in running for h in (order.source[row], order.destination[row])]
            ready = [
                row for row in ready
                if max(busy.count(order.source[row]), busy.count(order.destination[row])) < caps.host
            ]  # fmt: skip
        assert ready or running
        if ready and (not running or rng.random() < 0.6):
            row = int(rng.choice(ready))
            waiting.remove(row)
            running.append(row)
            assert world.at[order.shard[row]] == {int(order.source[row])}
            world.at[order.shard[row]].add(int(order.destination[row]))
            world.check()
        else:
            row = running.pop(int(rng.integers(len(running))))
            done.add(row)
            world.at[order.shard[row]].remove(int(order.source[row]))
    cancelled = {c.move for c in order.cancelled}
    at = np.array([next(iter(hosts)) for hosts in world.at])
    expected = made.host.copy()
    for number, shard, host in zip(order.move, order.shard, order.destination, strict=True):
        if number >= 0:
            expected[shard] = host
            assert int(number) not in cancelled
    assert (at == expected).all()


@many
@given(fleet=fleets, cap=st.sampled_from([0, 1, 3]))
def test_any_linear_extension_within_the_caps_is_safe(fleet: dict[str, object], cap: int) -> None:
    """Capacity, groups, zones and pairs hold with shards held at both ends; the predicted peak does not rise."""
    made, moves = shuffled(**fleet)  # type: ignore[arg-type]
    caps = Caps(host=cap)
    order = ordered(made, moves, caps=caps)
    assert verify(made, order, caps) == ""
    for number in range(3):
        run_at_random(made, order, Caps() if number == 0 else Caps(host=0), np.random.default_rng(number))


@many
@given(fleet=fleets)
def test_every_wave_can_run_at_once(fleet: dict[str, object]) -> None:
    """A wave that waits only for the one before is safe too, all of it together."""
    made, moves = shuffled(**fleet)  # type: ignore[arg-type]
    order = ordered(made, moves, caps=Caps(host=2))
    world = World(made, order)
    for wave in range(1, int(order.wave.max(initial=0)) + 1):
        rows = np.flatnonzero(order.wave == wave).tolist()
        for row in rows:
            world.at[order.shard[row]].add(int(order.destination[row]))
        world.check()
        ends = np.concatenate([order.source[rows], order.destination[rows]])
        assert np.bincount(ends).max() <= 2
        for row in rows:
            world.at[order.shard[row]].remove(int(order.source[row]))


@many
@given(fleet=fleets)
def test_same_problem_same_bytes(fleet: dict[str, object]) -> None:
    """Nothing in an order depends on the run."""
    one, two = (ordered(*shuffled(**fleet)) for _ in range(2))  # type: ignore[arg-type]
    for name, value in vars(one).items():
        other = getattr(two, name)
        if isinstance(value, np.ndarray):
            assert value.tobytes() == other.tobytes(), name
        elif name == "after":
            assert [part.tobytes() for part in value] == [part.tobytes() for part in other]
        else:
            assert value == other, name


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_what_runs_ends_at_the_target(noise: float) -> None:
    """With air to move in nothing is left out, and nothing is parked."""
    made, moves = shuffled(3, hosts=10, shards=60, fill=0.6, noise=noise, apps=0)
    order = ordered(made, moves)
    assert not order.cancelled and not order.parks.any()
    at = made.host.copy()
    at[order.shard] = order.destination
    goal = made.host.copy()
    for move in moves:
        goal[move.shard] = move.destination
    assert (at == goal).all()
    assert (settled(made, at) <= made.room * (1 + 1e-6)).all()
