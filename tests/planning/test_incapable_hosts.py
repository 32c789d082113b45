"""What driver criu cannot do somewhere is not planned, and the reason has a name."""

from __future__ import annotations

import pytest
from asked import moves, plan, rising
from small_fleets import HostIn, Small
from test_manual_moves import move
from test_why_not import asked, codes

from sidestep.fleet.errors import SidestepError

WHY = "CRIU_KERNEL: criu 3.17.1 does not work with kernel 6.18"


def small(driver: str = "criu", **unable: str) -> Small:
    made = rising(HostIn("h2"), HostIn("h3", own_cpu=1.0), driver=driver)
    for host in made.hosts:
        host.unable = unable.get(host.name, "")
    return made


def test_a_process_goes_with_its_memory_only_where_that_can_be_done() -> None:
    """h2 has more room, and gets a shard of any other driver."""
    assert moves(plan(small("restart", h2=WHY))) == [("kv-1", "h1", "h2")]
    assert moves(plan(small(h3=WHY))) == [("kv-1", "h1", "h2")]
    made = plan(small(h2=WHY))
    assert moves(made) == [("kv-1", "h1", "h3")]
    told = {a.destination: a.reason for a in made.actions[0].alternatives}
    assert (told["h2"].code, told["h2"].text) == ("INCAPABLE", WHY)


def test_where_its_own_host_cannot_it_stays_and_another_one_moves() -> None:
    assert moves(plan(small("restart", h1=WHY))) == [("kv-1", "h1", "h2")]
    assert moves(plan(small(h1=WHY))) == [("kv-2", "h1", "h2")]


@pytest.mark.parametrize("where", ["h1", "h2"])
def test_an_operator_is_refused_and_told_why_at_either_end(where: str) -> None:
    fleet = small(**{where: WHY})
    with pytest.raises(SidestepError, match=r"INCAPABLE: .*CRIU_KERNEL: criu 3\.17\.1 does not"):
        move(fleet)
    assert [(o.reason.code, WHY in o.reason.text) for o in asked(fleet, "kv-1", "h2").obstacles] == [
        ("INCAPABLE", True)
    ]
    assert codes(asked(small(), "kv-2", "h2")) != ["INCAPABLE"], "other drivers need nothing of it"
