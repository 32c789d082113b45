"""Host ranges, groups and overrides: what many hosts share is written once."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.config import ConfigErrors, parse_fleet
from sidestep.fleet.config_ranges import MAX_NAMES, compress, expand
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec

TOP = '[fleet]\nname = "x"\n\n'


def fleet(text: str) -> FleetSpec:
    return parse_fleet(TOP + text, "f.toml")


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        fleet(text)
    return caught.value


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web1", ["web1"]),
        ("web[08-11]", ["web08", "web09", "web10", "web11"]),
        ("web[8-11]", ["web8", "web9", "web10", "web11"]),
        ("db[a,b]", ["dba", "dbb"]),
        ("[a,b]-[1-2]", ["a-1", "a-2", "b-1", "b-2"]),
        ("r[1-2,7].n[001-002]", ["r1.n001", "r1.n002", "r2.n001", "r2.n002", "r7.n001", "r7.n002"]),
        ("x[99-101]y", ["x99y", "x100y", "x101y"]),
    ],
)
def test_a_range_stands_for_its_names_in_order(pattern: str, names: list[str]) -> None:
    assert list(expand(pattern)) == names


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z.]{0,4}", fullmatch=True), st.integers(0, 30), st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=3,
    )
)
def test_several_brackets_are_every_combination_with_the_written_width(
    parts: list[tuple[str, int, int, bool]],
) -> None:
    pattern, choices = "", []
    for text, low, count, padded in parts:
        width = 3 if padded else 0
        pattern += f"{text}[{low:0{width}d}-{low + count:0{width}d}]"
        choices.append([f"{text}{number:0{width}d}" for number in range(low, low + count + 1)])
    assert list(expand(pattern)) == ["".join(row) for row in itertools.product(*choices)]


@given(st.text(alphabet="ab019-,[] ", max_size=24))
def test_any_pattern_is_expanded_within_the_bound_or_refused_with_a_reason(pattern: str) -> None:
    try:
        names = expand(pattern)
    except ValueError as error:
        assert str(error)
    else:
        assert 1 <= len(names) <= MAX_NAMES


def test_names_are_folded_into_patterns() -> None:
    names = ["db1", "web02", "web01", "web03", "web07", "cache", "n9", "n10", "n11", "r1.x", "r2.x"]
    assert compress(names) == ("db1", "web[01-03,07]", "cache", "n[9-11]", "r[1-2].x")


@given(st.lists(st.from_regex(r"[a-b0-2][a-b0-2.]{0,5}", fullmatch=True)))
def test_folded_names_expand_to_just_these_names(names: list[str]) -> None:
    again = [name for pattern in compress(names) for name in expand(pattern)]
    assert sorted(again) == sorted(set(names))


def test_a_pattern_for_far_too_many_names_is_refused_before_any_is_made() -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="stands for 1000000000000000000 names, more than 10000"):
        expand("[0-999999999][0-999999999]")
    assert time.process_time() - began < 1


def test_names_and_addresses_of_a_range_run_in_step() -> None:
    spec = fleet('[hosts."web[01-03]"]\naddress = "10.0.0.[9-11]"\nport = 2222\nzone = "z"\n')
    assert [(h.name, h.address, h.port, h.zone) for h in spec.hosts] == [
        ("web01", "10.0.0.9", 2222, "z"),
        ("web02", "10.0.0.10", 2222, "z"),
        ("web03", "10.0.0.11", 2222, "z"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "said", "remedy"),
    [
        ('[hosts."w[01-40]"]\naddress = "10.0.0.[1-39]"\n', 5, "40 hosts but 39 addresses", "same length"),
        ('[hosts."w[01-40]"]\naddress = "10.0.0.1"\n', 5, "40 hosts but 1 address", "same length"),
        ('[hosts."w[40-01]"]\naddress = "10.0.0.[1-40]"\n', 4, "runs backwards", "web[01-40]"),
        ('[hosts."w[1-0040]"]\naddress = "10.0.0.[1-40]"\n', 4, "not written with as many digits", "web[01-40]"),
        ('[hosts."w[1-40"]\naddress = "10.0.0.[1-40]"\n', 4, "without its partner", "web[01-40]"),
        ('[hosts."w[1,1]"]\naddress = "10.0.0.[1-2]"\n', 4, "names a host twice", "overlap"),
        ('[hosts."w[1-20000]"]\naddress = "a[1-20000]"\n', 4, "stands for 20000 names", "web[01-40]"),
        ('[hosts."w[1-2]"]\nport = 22\n', 4, "address: is missing", "address = ..."),
        ('[hosts."/w[1-2]"]\naddress = "a[1-2]"\n', 4, "/w1 is not a usable name", "letters"),
        ('[hosts."w[1-2]"]\naddress = "a[1-2]"\ncpu = 0\n', 6, "hosts.w[1-2].cpu = 0", "discovered"),
        (
            '[hosts."w[1-5]"]\naddress = "a[1-5]"\n[hosts."w[4-9]"]\naddress = "b[4-9]"\n',
            6,
            "w4, w5 is declared twice; the first is on line 4",
            "override = true",
        ),
        (
            '[hosts."w[1-5]"]\naddress = "a[1-5]"\nport = 9\n[hosts.v]\naddress = "a3"\nport = 9\n',
            8,
            "port 9 is already host w3",
            "keep one",
        ),
        ('[hosts.w]\naddress = "a"\noverride = true\n', 6, "overrides nothing", "remove it"),
    ],
)
def test_each_mistake_in_a_range_is_named_once_with_its_line(text: str, line: int, said: str, remedy: str) -> None:
    error = refused(text)
    assert not isinstance(error, ConfigErrors), str(error)
    assert said in str(error), str(error)
    assert remedy in str(error)
    assert error.line == line, str(error)


def test_an_ipv6_address_may_stand_in_brackets_and_may_have_a_range() -> None:
    spec = fleet('[hosts.a]\naddress = "[::1]"\n[hosts."b[1-2]"]\naddress = "fd00::[1-2]"\n')
    assert [h.address for h in spec.hosts] == ["::1", "fd00::1", "fd00::2"]


def test_one_host_of_a_range_may_differ_when_it_says_so() -> None:
    spec = fleet(
        '[hosts."w[1-3]"]\naddress = "a[1-3]"\ncpu = 4\nlabels = {rack = "r1", role = "web"}\n'
        '[hosts.w2]\noverride = true\ncpu = 8\nlabels = {rack = "r2"}\n'
    )
    assert [h.cpu for h in spec.hosts] == [4, 8, 4]
    assert spec.host("w2").labels == (("rack", "r2"), ("role", "web"))
    assert spec.host("w2").address == "a2"


def test_settings_come_from_defaults_then_groups_in_order_then_the_host() -> None:
    spec = fleet(
        '[defaults.host]\ncost = 1\nuser = "d"\nzone = "d"\nport = 1\nlabels = {a = "d", b = "d", c = "d", e = "d"}\n'
        '[groups.one]\nhosts = ["w[1-2]"]\nuser = "one"\nzone = "one"\nport = 2\n'
        'labels = {b = "one", c = "one", e = "one"}\n'
        '[groups.two]\nhosts = ["w2"]\nzone = "two"\nport = 3\nlabels = {c = "two", e = "two"}\n'
        '[hosts."w[1-3]"]\naddress = "a[1-3]"\n'
        '[hosts.w2]\noverride = true\nport = 4\nlabels = {e = "own"}\n'
    )
    seen = {h.name: (h.cost, h.user, h.zone, h.port, "".join(v[0] for _, v in h.labels), h.groups) for h in spec.hosts}
    assert seen == {
        "w1": (1, "one", "one", 2, "dooo", ("one",)),
        "w2": (1, "one", "two", 4, "doto", ("one", "two")),
        "w3": (1, "d", "d", 1, "dddd", ()),
    }


def test_a_group_of_groups_has_the_hosts_of_all_of_them() -> None:
    spec = fleet(
        '[groups.all]\ngroups = ["web", "db"]\nuser = "ops"\n[groups.db]\nhosts = ["d1"]\n'
        '[groups.web]\nhosts = ["w1"]\n[hosts.w1]\naddress = "a"\n[hosts.d1]\naddress = "b"\n[hosts.x]\naddress = "c"\n'
    )
    assert [(h.name, h.user, h.groups) for h in spec.hosts] == [
        ("w1", "ops", ("all", "web")),
        ("d1", "ops", ("all", "db")),
        ("x", "", ()),
    ]


@pytest.mark.parametrize(
    ("text", "line", "said", "remedy"),
    [
        ('[groups.g]\nhosts = ["w[1-9]"]\n', 7, "w3, w4, w5 … is no host of this fleet", "hosts.w3"),
        ('[groups.g]\nhosts = ["wx1"]\n', 7, "= 'wx1': is no host", "did you mean w1?"),
        ('[groups.g]\nhosts = ["w[2-1]"]\n', 7, "runs backwards", "web[01-40]"),
        ('[groups.g]\ngroups = ["h"]\n', 7, "is no group of this fleet", "known are: g"),
        ('[groups.g]\ngroups = ["h"]\n[groups.h]\ngroups = ["g"]\n', 7, "goes round in a circle: g → h → g", "remove"),
        ('[groups.g]\naddress = "a"\n', 7, "unknown key", "known are"),
        ("[groups.g]\nport = 0\n", 7, "groups.g.port = 0: must be between", "port"),
        ('[groups."a/b"]\nhosts = []\n', 6, "is not a usable name", "letters"),
        ('[groups.g]\nlabels = {"a b" = "c"}\n', 7, "has a key that is not a usable name: a b", "rack"),
        ("[groups.g]\nlabels = 7\n", 7, "must be a table of labels, not a number", "rack"),
        ('[groups.g]\nsampler = "ruby"\n', 7, "must be one of auto, python, perl, awk, sh, sftp", "auto"),
        ('[groups.g]\njump = "a b"\n', 7, "must be hosts to go through", "bastion"),
        ('[groups.g]\njump = "-oProxyCommand=x"\n', 7, "must be hosts to go through", "bastion"),
        ('[groups.g]\nreserve_cpu = "100%"\n', 7, "must be below 100 %", "10%"),
    ],
)
def test_each_mistake_in_a_group_is_named_with_its_line(text: str, line: int, said: str, remedy: str) -> None:
    error = refused('[hosts."w[1-2]"]\naddress = "a[1-2]"\n' + text)
    assert not isinstance(error, ConfigErrors), str(error)
    assert said in str(error), str(error)
    assert remedy in str(error)
    assert error.line == line, str(error)


def test_a_reserve_in_percent_is_of_what_is_declared_or_discovered() -> None:
    spec = fleet(
        '[defaults.host]\nreserve_cpu = "10%"\nreserve_memory = "25%"\n'
        '[hosts.a]\naddress = "a"\ncpu = 4\nmemory = "4G"\n[hosts.b]\naddress = "b"\n'
        '[hosts.c]\naddress = "c"\ncpu = 2\nreserve_cpu = 1\n'
    )
    a, b, c = spec.hosts
    assert (a.reserve_cpu, a.reserve_memory) == (0.4, 1 << 30)
    assert a.allocatable() == (3.6, 3 << 30)
    assert all(value != value for value in b.allocatable()), "NaN until it is discovered"
    assert b.allocatable(8, 1 << 20) == (7.2, 0.75 * (1 << 20))
    assert (c.reserve_cpu, c.reserve_cpu_percent, c.reserve_memory_percent) == (1, 0, 25)


def test_two_hosts_behind_different_jump_hosts_may_have_the_same_private_address() -> None:
    spec = fleet('[hosts.a]\naddress = "10.0.0.1"\njump = "j1"\n[hosts.b]\naddress = "10.0.0.1"\njump = "ops@j2:22"\n')
    assert len(spec.hosts) == 2
    assert "already host a" in str(
        refused('[hosts.a]\naddress = "10.0.0.1"\njump = "j"\n[hosts.b]\naddress = "10.0.0.1"\njump = "j"\n')
    )


@pytest.mark.parametrize(
    "text",
    [
        '[ssh]\npassword = "hunter2"\n',
        '[ssh]\npasswd = "hunter2"\n',
        '[ssh]\npassphrase = "hunter2"\n',
        '[ssh]\npasphrase = "hunter2"\n',
        '[ssh]\nidentity = """-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"""\n',
        '[hosts.h]\naddress = "a"\nprivate_key = "hunter2"\n',
        '[groups.g]\npassword = "hunter2"\n',
        '[hosts.h]\naddress = "a"\nlabels = {k = "-----BEGIN RSA PRIVATE KEY----- hunter2"}\n',
        '[hosts]\npassword = "hunter2"\n',
        '[password]\nx = "hunter2"\n',
        "[ssh]\npassword = hunter2\n",
    ],
)
def test_a_secret_is_refused_with_the_remedy_and_never_repeated(text: str) -> None:
    error = refused(text + ("" if "[hosts" in text else '[hosts.z]\naddress = "z"\n'))
    assert "hunter2" not in str(error)
    if "TOML" not in str(error):
        assert "file:PATH" in str(error) or "[hosts.password]" in str(error)


def test_ten_thousand_hosts_of_one_range_are_read_in_no_time() -> None:
    began = time.process_time()
    spec = fleet(
        '[defaults.host]\nuser = "ops"\n[groups.g]\nhosts = ["n[0001-9999]"]\n'
        '[hosts."n[0001-9999]"]\naddress = "n[0001-9999].example"\n'
    )
    assert len(spec.hosts) == 9999
    assert spec.hosts[41].address == "n0042.example"
    assert time.process_time() - began < 5
