"""Every explanation is true when it is computed again, the long way, by arithmetic of its own."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_fleets import GIB, NOW, HostIn, ShardIn, Small, acted_on
from test_plan_properties import Truth, fleets, plan
from whatif_worlds import planned, world_of

from sidestep.fleet.contention import at_quantile
from sidestep.fleet.forecast import MEDIAN
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import Action, Alternative, Plan
from sidestep.fleet.resources import DIMENSIONS
from sidestep.planning.queries.verdict import Ground
from sidestep.planning.queries.why import why, why_not

relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
#: codes that stand for something that forbids; the others say what is better
HARD = {"PINNED", "CORDONED", "NOT_READY", "STANDBY", "HOT", "AVOID", "NO_ROOM", "NOT_ALLOWED", "HERE"}
CLOSE = 1e-5


@st.composite
def varied(draw: st.DrawFn) -> Small:
    """Random fleets, some of whose hosts are on standby or being drained, or cost something."""
    small = draw(fleets(most_hosts=5))
    hosts = [
        replace(
            host,
            standby=draw(st.sampled_from([False, False, False, True])),
            cost=draw(st.sampled_from([0.0, 1.0, 2.0])),
            state=HostState.DRAINING if draw(st.integers(0, 9)) == 0 else host.state,
        )
        for host in small.hosts
    ]
    goals = draw(st.sampled_from([("headroom",), ("cost", "headroom")]))
    policy = Policy(max_moves=small.policy.max_moves, goals=tuple(map(Label, goals)))
    return replace(small, hosts=hosts, policy=policy)


class Witness:
    """A fleet, and what its plan has done up to an action."""

    def __init__(self, small: Small, made: Plan) -> None:
        self.small, self.made, self.truth = small, made, Truth(small)
        self.at = {s.name: s.host for s in small.shards}
        self.come: dict[str, set[str]] = {h.name: set() for h in small.hosts}
        self.found = acted_on(small)
        self.hot = {str(c.host) for c in self.found}

    def passed(self, action: Action) -> None:
        self.at[str(action.shard)] = str(action.destination)
        self.come[str(action.destination)].add(str(action.shard))

    def host(self, name: str) -> HostIn:
        return next(h for h in self.small.hosts if h.name == name)

    def room(self, shard: str, host: str, come: set[str] | None = None) -> float:
        """Least room with the shard there too, a fraction of capacity, while nothing has left."""
        there = frozenset((self.come[host] if come is None else come) | {shard})
        row, limit = self.truth.rows[host], self.truth.limit[self.truth.rows[host]]
        capacity = np.array([self.small.hosts[row].cpu, self.small.hosts[row].memory])
        upper = self.truth.upper(host, frozenset(), there).max(axis=1)
        return float(((limit - upper) / capacity).min())

    # -- alternatives

    def check(self, action: Action, other: Alternative) -> None:
        """That the code says what is so."""
        shard, host = str(action.shard), str(other.destination)
        state, code = self.host(host), other.reason.code
        assert host not in (action.source, action.destination)
        room, taken = self.room(shard, host), self.room(shard, str(action.destination))
        match code:
            case "CORDONED":
                assert state.cordoned or state.state in {HostState.CORDONED, HostState.DRAINING}
            case "NOT_READY":
                assert state.state is HostState.SUSPECT
            case "STANDBY":
                assert state.standby
            case "HOT":
                assert host in self.hot
            case "AVOID":
                assert self.truth.avoided(shard, [n for n, h in self.at.items() if h == host])
            case "NO_ROOM":
                assert room < CLOSE
                assert float(percent(other.reason.text)) == pytest.approx(-100 * room, abs=0.6)
            case "HOTTER":
                assert room <= taken + CLOSE
            case "DEARER":
                assert state.cost > self.host(str(action.destination)).cost
            case "OTHER_GOAL":
                assert self.small.policy.goals[0] != "headroom" and room > taken - CLOSE
            case "RESERVED":
                others = {str(a.shard) for a in self.made.actions if a.destination == host and a.shard != shard}
                filled = self.room(shard, host, others) < CLOSE
                assert others and (filled or self.truth.avoided(shard, sorted(others)))
            case "AS_GOOD":
                assert room > taken - CLOSE
            case _:
                pytest.fail(f"nobody checks {code}")

    # -- reasons

    def reason(self, action: Action) -> None:
        """That the reason is so, and its evidence what was forecast."""
        source, shard = str(action.source), str(action.shard)
        match action.reason.code:
            case "RELIEVES":
                assert source in self.hot and action.evidence is not None and action.evidence.host == source
                assert f"takes {source} out of" in action.reason.text
            case "MAKES_ROOM":
                guests = [str(a.shard) for a in self.made.actions if a.id > action.id and a.destination == source]
                assert any(f"for {guest}" in action.reason.text for guest in guests)
                together = self.come[source] | set(guests)  # each of them may fit alone
                assert any(self.room(guest, source, together) < CLOSE for guest in guests)
            case "REPAIRS":
                assert self.truth.avoided(shard, [n for n, h in self.at.items() if h == source])
            case "DRAINS":
                assert self.host(source).state is HostState.DRAINING
            case "PARKS":
                assert action.parked
            case code:
                pytest.fail(f"nobody checks {code}")
        if action.evidence is not None:
            self.evidence(action)

    def evidence(self, action: Action) -> None:
        said = action.evidence
        assert said is not None
        (truth,) = [c for c in self.found if (c.host, c.dimension) == (said.host, said.dimension)]
        assert (said.probability, said.starts_at) == (truth.probability, truth.starts_at)
        assert said.lead == pytest.approx(truth.starts_at - NOW)
        row, column = self.truth.rows[str(said.host)], DIMENSIONS.index(said.dimension)
        host = self.small.hosts[row]
        capacity = (host.cpu, host.memory)[column]
        assert said.threshold * capacity == pytest.approx(self.truth.limit[row, column])
        curves = self.truth.forecast.hosts[row, column] / capacity
        assert said.median == pytest.approx(curves[:, MEDIAN].tolist(), abs=1e-3)
        assert said.upper == pytest.approx(at_quantile(curves, said.quantile).tolist(), abs=1e-3)
        ends = {str(a.shard): str(a.destination) for a in self.made.actions}
        starts = {s.name: s.host for s in self.small.shards}
        gone = frozenset(n for n, to in ends.items() if starts[n] == host.name and to != host.name)
        come = frozenset(n for n, to in ends.items() if to == host.name and starts[n] != host.name)
        after = self.truth.upper(host.name, gone, come)[column] / capacity
        assert said.upper_after == pytest.approx(after.tolist(), abs=2e-3)


def percent(text: str) -> str:
    found = re.search(r"(\d+)%", text)
    assert found is not None, text
    return found[1]


@relaxed
@given(varied())
def test_every_action_says_why_with_evidence_and_alternatives_that_are_so(small: Small) -> None:
    """S3.14: reasons, evidence and rejected alternatives are computed again; 100 % of actions carry them."""
    made = plan(small)
    assume(isinstance(made, Plan))
    assert isinstance(made, Plan)
    witness = Witness(small, made)
    for action in made.actions:
        assert action.reason.code and action.reason.text
        others = {h.name for h in small.hosts} - {str(action.source), str(action.destination)}
        assert len(action.alternatives) == min(3, len(others))
        witness.reason(action)
        for other in action.alternatives:
            witness.check(action, other)
        witness.passed(action)
    for reason in made.left:
        assert reason.code and reason.text


def test_a_host_that_can_be_relieved_only_at_a_lower_quantile_is_no_destination_for_being_hot() -> None:
    """S3.14: it takes nothing either way, but it is no standby host."""
    cores = [(0.5, 1.5), (0.5, 0.75), (0.5, 0.5), (0.5, 1.125), (0.5, 0.375), (0.5, 0.5)]
    shards = [ShardIn(f"s{at}", "h1", cpu=use, memory=GIB, state=0.0) for at, use in enumerate(cores)]
    shards[3].sd = 0.05
    shards[5].avoid = ("web",)
    drained = ShardIn("drained", "h2", cpu=(0.5, 0.25), memory=GIB, state=0.0)
    other = ShardIn("other", "h3", cpu=(0.5, 0.5), memory=GIB, state=0.0, app="web")
    hosts = [HostIn("h1"), HostIn("h2", cpu=2.0, state=HostState.DRAINING), HostIn("h3", cpu=3.0)]
    made = plan(Small(hosts=hosts, shards=[*shards, drained, other]))
    assert isinstance(made, Plan)
    assert {action.source for action in made.actions} == {"h1", "h2"}
    codes = [one.reason.code for a in made.actions if a.source == "h2" for one in a.alternatives]
    assert codes == ["HOT"]


@relaxed
@given(varied(), st.data())
def test_every_reason_against_a_host_is_so_and_none_is_missed(small: Small, data: st.DataObject) -> None:
    """S1.13, S1.28: what forbids is told if and only if it does."""
    world = world_of(small)
    made = planned(world)
    ground = Ground.of(world)
    name = data.draw(st.sampled_from([s.name for s in small.shards]))
    host = data.draw(st.sampled_from(small.hosts))
    rules = ground.built.rules
    answer = why_not(ground, rules.shard_row[name], rules.host_row[host.name], made if isinstance(made, Plan) else None)
    shard = small.named(name)
    witness = Witness(small, made if isinstance(made, Plan) else None)  # type: ignore[arg-type]
    said = {obstacle.reason.code for obstacle in answer.obstacles}
    assert answer.goes == (not said)
    if shard.host == host.name:
        assert said == {"HERE"}
        return
    source = witness.host(shard.host)
    room = witness.room(name, host.name)
    so = {
        "PINNED": shard.pinned,
        "CORDONED": host.cordoned or host.state in {HostState.CORDONED, HostState.DRAINING},
        "NOT_READY": host.state is HostState.SUSPECT or source.state is HostState.SUSPECT,
        "STANDBY": host.standby and host.state is HostState.READY and not host.cordoned,
        "HOT": host.name in witness.hot and host.state is HostState.READY and not host.standby,
        "AVOID": witness.truth.avoided(name, [s.name for s in small.shards if s.host == host.name]),
        "NO_ROOM": room < 0,
    }
    if shard.pinned:
        said.discard("NOT_READY")
        so["NOT_READY"] = False
    if abs(room) < CLOSE:
        said.discard("NO_ROOM")
        so["NO_ROOM"] = False
    if answer.goes:
        assert not any(so.values())
    else:
        assert said & HARD == {code for code, true in so.items() if true}
    for obstacle in answer.obstacles:
        if obstacle.lacks is not None:
            row, column = witness.truth.rows[host.name], DIMENSIONS.index(obstacle.dimension)
            upper = witness.truth.upper(host.name, frozenset(), frozenset({name}))[column]
            over = upper - witness.truth.limit[row, column]
            assert obstacle.lacks == pytest.approx(over.max(), rel=1e-3, abs=1e-4)
            assert obstacle.at is not None and over[round(obstacle.at / small.step) - 1] == pytest.approx(
                over.max(), rel=1e-3
            )


@relaxed
@given(varied(), st.data())
def test_a_shard_that_stays_says_what_is_so(small: Small, data: st.DataObject) -> None:
    """S1.30."""
    world = world_of(small)
    made = planned(world)
    ground = Ground.of(world)
    name = data.draw(st.sampled_from([s.name for s in small.shards]))
    answer = why(ground, ground.built.rules.shard_row[name], made, proposed=False)
    shard, hot = (
        small.named(name),
        {str(c.host) for c in acted_on(small)},
    )
    moved = {str(a.shard): a for a in made.actions} if isinstance(made, Plan) else {}
    assert answer.moves == (name in moved)
    if answer.moves:
        assert answer.reason == moved[name].reason and answer.alternatives == moved[name].alternatives
        return
    match answer.reason.code:
        case "PINNED":
            assert shard.pinned
        case "NOT_READY":
            assert next(h for h in small.hosts if h.name == shard.host).state is HostState.SUSPECT
        case "NO_CONTENTION":
            assert shard.host not in hot
        case "NOT_NEEDED":
            assert shard.host in hot and any(a.source == shard.host for a in moved.values())
        case _:
            assert shard.host in hot
            reasons = made.left if isinstance(made, Plan) else made.reasons
            assert answer.reason.code in {reason.code for reason in reasons}
