"""A thousand hosts and twenty thousand shards are planned at once."""

import numpy as np
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.plans import Plan
from sidestep.planning import propose

HOSTS, SHARDS, HOT = 1000, 20000, 6


def fleet() -> Small:
    rng = np.random.default_rng(7)
    at = np.arange(SHARDS) % HOSTS
    cpu = rng.lognormal(-1.2, 0.4, SHARDS)
    grown = np.where(at < HOT, 2.2, 1.05)
    state, memory = rng.lognormal(0, 1, SHARDS) * 1e8, rng.lognormal(0, 0.5, SHARDS) * GIB
    hosts = [HostIn(f"h{i:04}", cpu=14.0, memory=64 * GIB) for i in range(HOSTS)]
    shards = [
        ShardIn(
            f"s{i:05}",
            f"h{at[i]:04}",
            (cpu[i], cpu[i] * grown[i]),
            memory[i],
            sd=cpu[i] * 0.1,
            state=state[i],
            app=f"app{i % 400}",
            avoid=(f"app{i % 400}",) if i % 400 < 5 else (),
        )
        for i in range(SHARDS)
    ]
    return Small(hosts, shards, steps=60, step=1.0)


def test_a_thousand_hosts_are_relieved_by_few_moves() -> None:
    small = fleet()
    snapshot, forecast, spec = small.snapshot(), small.forecast(), small.spec()
    made = propose(snapshot, forecast, small.policy, small.placement(), fleet=spec, number=1, created=NOW)
    assert isinstance(made, Plan)
    assert 0 < len(made.actions) <= small.policy.max_moves
    after = {(o.host, o.dimension): o for o in made.outlook}
    for action in made.actions:
        assert action.evidence is not None
        relieved = after[action.evidence.host, action.evidence.dimension]
        assert relieved.probability_before >= small.policy.min_probability > relieved.probability_after
