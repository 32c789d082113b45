"""What a fleet file says of planning: what contradicts itself is named with its line, value and remedy."""

from __future__ import annotations

import pytest

from sidestep.fleet.config import parse_fleet
from sidestep.fleet.config_planning import bundles
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label

HOSTS = """\
[fleet]
name = "demo"

[hosts.h1]
address = "10.0.0.1"
cpu = 4
memory = "8G"
disk = "100G"
zone = "north"
rack = "r1"
labels = { tier = "web" }

[hosts.h2]
address = "10.0.0.2"
cpu = 8
memory = "16G"
disk = "200G"
zone = "north"
rack = "r2"

[hosts.h3]
address = "10.0.0.3"
cpu = 4
memory = "8G"
disk = "100G"
standby = true
"""


def shard(name: str, *lines: str, host: str = "h1", app: str = "kv") -> str:
    rows = [f"[shards.{name}]", f'app = "{app}"', f'host = "{host}"', 'start = "serve"', *lines, ""]
    return "\n".join(("", *rows))


def read(*parts: str) -> FleetSpec:
    return parse_fleet(HOSTS + "".join(parts), "fleet.toml")


def test_what_planning_needs_is_read_from_hosts_and_shards() -> None:
    """S3.16, S3.17: nearness, spread and required labels are declared per shard."""
    spec = read(
        shard(
            "a", 'near = ["b"]', 'prefer_near = ["db"]', 'spread = "rack"', 'requires = { tier = "web" }',
            'disk = "1G"',
            "guarantee_cpu = 0.5", 'guarantee_memory = "256M"', "limit_cpu = 2", 'limit_memory = "1G"',
            "splittable = false",
        ),
        shard("b", app="db"),
    )  # fmt: skip
    a = spec.shard("a")
    assert (a.near, a.prefer_near, a.spread, a.requires) == (("b",), ("db",), "rack", (("tier", "web"),))
    assert (a.disk, a.guarantee_cpu, a.guarantee_memory) == (1 << 30, 0.5, 256 << 20)
    assert (a.limit_cpu, a.limit_memory, a.splittable) == (2.0, 1 << 30, False)
    assert (spec.host("h2").rack, spec.host("h2").disk, spec.host("h3").standby) == ("r2", 200 << 30, True)


def test_a_file_of_before_declares_nothing_of_it() -> None:
    spec = parse_fleet('[fleet]\nname = "a"\n[hosts.h]\naddress = "a"\n' + shard("s", host="h"), "f")
    assert spec.policy == Policy()
    assert spec.shards == (ShardSpec(name=Label("s"), app=Label("kv"), host=Label("h"), start="serve"),)


@pytest.mark.parametrize(
    ("text", "key", "said", "remedy"),
    [
        (shard("a", 'near = ["nobody"]'), "near", "'nobody': is neither a shard nor an app", "correct the name"),
        (shard("a", 'prefer_near = ["a"]'), "prefer_near", "is the shard itself", "remove it"),
        (shard("a", 'near = ["b"]', 'avoid = ["db"]') + shard("b", app="db"), "avoid", "b must be near it", "near"),
        (shard("a", 'near = ["b"]') + shard("b", 'spread = "host"'), "spread", "a of the same app must be", "spread"),
        (shard("a", 'near = ["b"]', "pinned = true") + shard("b", "pinned = true", host="h2"), "pinned",
         "must be near a, which is pinned to h1", "one of the pins"),
        (shard("a", 'near = ["b"]', 'requires = {tier = "web"}') + shard("b", 'requires = {tier = "db"}'), "requires",
         "tier = web", "require the same"),
        (shard("a", 'requires = { tier = "gold" }'), "requires", "'tier = gold': no host of this fleet", "labels"),
        (shard("a", 'requires = { tier = "web" }', "pinned = true", host="h2"), "requires", "pinned to h2", "label"),
        (shard("a", host="h3"), "host", "'h3': is a standby host", "remove standby from [hosts.h3]"),
        (shard("a", "guarantee_cpu = 3", "limit_cpu = 2"), "guarantee_cpu", "more than limit_cpu, 2", "raise"),
        (shard("a", 'guarantee_memory = "3G"', 'limit_memory = "2G"'), "guarantee_memory", "more than", "raise"),
        (shard("a", "guarantee_cpu = 9"), "guarantee_cpu", "no host may hand out so much; the most is 8", "larger"),
        (shard("a", 'disk = "1T"'), "disk", "no host may hand out so much", "larger host"),
        (shard("a", 'spread = "planet"'), "spread", "'planet': must be one of", '"rack"'),
        (shard("a", 'requires = ["web"]'), "requires", "must be a table of labels", "tier"),
    ],
)  # fmt: skip
def test_what_no_plan_could_ever_fulfil_names_line_value_and_remedy(
    text: str, key: str, said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    error = getattr(caught.value, "problems", (caught.value,))[0]
    assert said in str(error) and remedy in str(error), str(error)
    assert error.key.endswith(f".{key}")
    line = (HOSTS + text).splitlines()[error.line - 1]
    assert line.startswith(f"{key} ="), line


@pytest.mark.parametrize(
    ("policy", "line", "said", "remedy"),
    [
        ("aggressiveness = 6", 2, "aggressiveness = 6: must be between 1 and 5", "anything that helps"),
        ('prefer = "speed"', 2, "must be one of moves, bytes", '"bytes"'),
        ("goals = []", 2, "must name at least one", '"headroom"'),
        ('goals = ["cost", "cost"]', 2, "names cost twice", '"headroom"'),
        ('kinds = ["teleport"]', 2, "teleport, which is none of migrate, resize", '"activate"'),
        ('kinds = "migrate"', 2, "must be a list of some of migrate", '"activate"'),
        ("split_windows = [5, 3]", 2, "more windows than it looks at", "3 of the last 5"),
        ("split_windows = 3", 2, "must be a list of two numbers", "3 of the last 5"),
        ('tolerate = "continent"', 2, "must be one of", '"zone"'),
        ("concurrent = 0", 2, "between 1 and", "such as 4"),
        ("concurrent_per_zone = -1", 2, "between 0 and", "0 for no cap"),
        ('quantum_memory = "1K"', 2, "must be at least", "512M"),
        ("seed = -1", 2, "between 0", "such as 1"),
        ("iterations = 0", 2, "between 1", "20000"),
    ],
)
def test_each_mistake_in_a_policy_names_line_value_and_remedy(policy: str, line: int, said: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fleet(f"[policy]\n{policy}\n{HOSTS}", "fleet.toml")
    assert caught.value.line == line
    assert said in str(caught.value) and remedy in str(caught.value), str(caught.value)


def test_a_domain_that_no_host_is_in_cannot_be_lost_or_spread_over() -> None:
    bare = '[fleet]\nname = "a"\n[hosts.h]\naddress = "a"\n'
    with pytest.raises(ConfigError, match=r"f:2: policy\.tolerate = 'zone': no host is in a zone"):
        parse_fleet(f'[policy]\ntolerate = "zone"\n{bare}', "f")
    with pytest.raises(ConfigError, match="no host is in a rack"):
        parse_fleet(bare + shard("s", 'spread = "rack"', host="h"), "f")
    assert parse_fleet(f'[policy]\ntolerate = "host"\n{bare}', "f").policy.tolerate == "host"


def test_a_rack_is_in_one_zone() -> None:
    with pytest.raises(ConfigError, match="rack = 'r1': is in zone south here and in zone north with host h1"):
        read('[hosts.h4]\naddress = "10.0.0.4"\nrack = "r1"\nzone = "south"\n')


def test_nobody_is_blamed_for_a_host_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fleet(HOSTS.replace('tier = "web"', "tier = 7") + shard("a", 'requires = { tier = "web" }'), "f")
    assert caught.value.key == "hosts.h1.labels"


def test_a_capacity_that_is_to_be_discovered_may_turn_out_large_enough() -> None:
    text = HOSTS.replace("cpu = 8\n", "").replace('disk = "200G"\n', "")
    assert parse_fleet(text + shard("a", "guarantee_cpu = 100", 'disk = "9T"'), "f").shard("a").guarantee_cpu == 100


def test_nearness_holds_both_ways_and_for_all_that_is_near_something_near() -> None:
    """S3.16: required affinity; an app stands for all of its shards."""
    spec = read(
        shard("a", 'near = ["db"]'), shard("b"), shard("d1", app="db"), shard("c", 'near = ["b"]', app="web"),
        shard("d2", app="db"), shard("e", app="other"),
    )  # fmt: skip
    assert bundles(spec.shards) == ((0, 2, 4), (1, 3))
