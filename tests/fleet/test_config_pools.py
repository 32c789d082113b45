"""``[pool.NAME]`` of the fleet file: what is read, written back and refused."""

from __future__ import annotations

import pytest

from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.errors import ConfigError

BASE = '[fleet]\nname = "f"\n[hosts.h]\naddress = "127.0.0.1"\ncpu = 4\nmemory = "8G"\n'


def test_a_pool_is_read_and_written_back_as_it_was() -> None:
    """S4.3"""
    text = f'{BASE}[pool.web]\nhosts = ["h"]\nservice = "shop.cart"\nmax = 4\nstabilise = "2m"\nports = [4000, 4100]\n'
    fleet = parse_fleet(text, "x.toml")
    assert (fleet.pools[0].apps, fleet.pools[0].max, fleet.pools[0].stabilise) == (("web",), 4, 120.0)
    assert parse_fleet(dump_fleet(fleet), "x.toml").pools == fleet.pools


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('service = "s"', "pool.web.max: is missing"),
        ("max = 4", "pool.web.service: is missing"),
        ('max = 4\nkind = "command"\nservice = "s"', "pool.web.start: is missing"),
        ('max = 4\nservice = "s"\nmin = 5', "pool.web.min = 5: is above max = 4"),
        ('max = 4\nservice = "s"\nguarantee = 5', "pool.web.guarantee = 5: is above max = 4"),
        ('max = 4\nservice = "s"\nmin = 4', "pool.web.ready_min = 1: together with min = 4 of 1 apps is above max = 4"),
        ('max = 4\nservice = "s"\nports = [10, 11]', "fewer than max = 4"),
        ('max = 4\nservice = "s"\nreact_low = 0.9', "is not below react_high"),
        ('max = 4\nservice = "s"\npath = "/srv/a b"', "must be an absolute path"),
        ('max = 4\nservice = "s"\n[pool.b]\nhosts = ["h"]\nmax = 4\nservice = "s"', "overlap those of pool web on h"),
        (
            'max = 4\nservice = "s"\n[pool.b]\napps = ["web"]\nhosts = ["h"]\nmax = 4\nservice = "s"',
            "pool web has as well",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_line(lines: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fleet(f'{BASE}[pool.web]\nhosts = ["h"]\n{lines}\n', "x.toml")
    assert said in str(caught.value)
    assert "x.toml:" in str(caught.value)


def test_a_host_of_no_pool_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no host of this fleet"):
        parse_fleet(f'{BASE}[pool.web]\nhosts = ["other"]\nservice = "s"\nmax = 2\n', "x.toml")
