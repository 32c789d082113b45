"""The fleet file: what is wrong is named with file, line, value and remedy, all of it at once."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.config import ConfigErrors, dump_fleet, parse_fleet
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import KEYS

GOOD = """\
[fleet]
name = "demo"
interval = "2s"

[policy]
horizon = "15m"

[defaults.host]
port = 2222

[hosts.h1]
address = "127.0.0.1"
cpu = 4
memory = "512M"

[hosts.h2]
address = "127.0.0.2"
cpu = 0.5
memory = "2GiB"
port = 22

[shards.kv-01]
app = "kv"
host = "h1"
start = "serve"
keys = [0, 65536]
"""


def wrong(old: str, new: str) -> ConfigError:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_fleet(GOOD.replace(old, new), "fleet.toml")
    assert caught.value.exit_code == 2
    return caught.value


def test_a_good_file_is_read_with_units_and_defaults() -> None:
    spec = parse_fleet(GOOD, "fleet.toml")
    assert (spec.interval, spec.policy.horizon) == (2.0, 900.0)
    assert (spec.host("h1").memory, spec.host("h2").memory) == (512 << 20, 2 << 30)
    assert (spec.host("h1").port, spec.host("h2").port) == (2222, 22)
    assert spec.shard("kv-01").keys == (0, KEYS)


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "remedy"),
    [
        ("interval =", "intervall =", 3, "fleet.intervall = '2s': unknown key", "did you mean interval?"),
        ("[policy]", "[polices]", 5, "unknown section", "did you mean policy?"),
        ("cpu = 4", 'cpu = "four"', 13, "hosts.h1.cpu = 'four': must be a number, not a text", "such as 4"),
        ("cpu = 4", "cpu = -1", 13, "hosts.h1.cpu = -1: must be above 0", "cores"),
        ("cpu = 4", "cpu = 0", 13, "must be above 0", "cores"),
        ("cpu = 4", "cpu = nan", 13, "must be finite", "cores"),
        ("cpu = 4", "cpu = 1e9", 13, "at most 4096", "cores"),
        ("cpu = 4", "cpu = 4\nreserve_cpu = 4", 14, "leaves nothing of 4 cores", "below cpu"),
        ('memory = "512M"', 'memory = "512 potatoes"', 14, "not a size", "512M"),
        ('memory = "512M"', "memory = true", 14, "not a boolean", "512M"),
        ("cpu = 4\n", "", 11, "hosts.h1.cpu: is missing", "[hosts.h1]"),
        ("[hosts.h2]", "[hosts.h1]", 16, "declared twice", "delete"),
        ('"127.0.0.2"', '"127.0.0.1"\n#', None, "", ""),
        ('host = "h1"', 'host = "h9"', 24, "is no host of this fleet", "[hosts.h9]"),
        ("keys = [0, 65536]", "keys = [0, 100]", 26, "keys 100..65535 of app kv belong to nobody", "65536"),
        ("keys = [0, 65536]", "keys = [9, 9]", 26, "first key below its end", "[0, 32768]"),
        ("keys = [0, 65536]", 'driver = "hook"', 22, "is missing", "save and load"),
        ("keys = [0, 65536]", 'driver = "teleport"', 26, "must be one of restart, hook", "restart"),
        ("keys = [0, 65536]", 'avoid = ["nobody"]', 26, "neither a shard nor an app", "name"),
        ("keys = [0, 65536]", "priority = 9", 26, "between 1 and 5", "1 (highest)"),
        ('name = "demo"', 'name = "de\\u001bmo"', 2, "must be printable", ""),
        ("[shards.kv-01]", '[shards."../../etc"]', 22, "is not a usable name", "letters"),
        ("port = 22\n", "port = 99999\n", 20, "between 1 and 65535", "port"),
        ("[fleet]", "[fleet", 1, "not TOML", "syntax"),
        ('horizon = "15m"', 'horizon = "15 parsecs"', 6, "not a duration", "15m"),
        ('horizon = "15m"', "quantile = 2", 6, "policy.quantile = 2", "0.8"),
    ],
)
def test_each_mistake_names_file_line_value_and_remedy(
    old: str, new: str, line: int | None, said: str, remedy: str
) -> None:
    if line is None:
        parse_fleet(GOOD.replace(old, new), "fleet.toml")
        return
    error = wrong(old, new)
    assert error.file == "fleet.toml"
    assert error.line == line, str(error)
    assert said in str(error)
    assert remedy in str(error)
    assert f"fleet.toml:{line}" in str(error)


def test_two_hosts_at_one_address_and_port_are_one_host() -> None:
    error = wrong('"127.0.0.2"\ncpu = 0.5\nmemory = "2GiB"\nport = 22\n', '"127.0.0.1"\ncpu = 0.5\nmemory = "2GiB"\n')
    assert "port 2222 is already host h1" in str(error)


def test_all_mistakes_of_a_file_are_named_at_once_in_its_order() -> None:
    text = GOOD.replace("cpu = 4", "cpu = -4").replace("interval", "intervall").replace('"2GiB"', '"2 x"')
    with pytest.raises(ConfigErrors) as caught:
        parse_fleet(text, "fleet.toml")
    assert [p.line for p in caught.value.problems] == [3, 13, 19]
    assert caught.value.line == 3
    for said in ("intervall", "hosts.h1.cpu", "hosts.h2.memory"):
        assert said in str(caught.value)


def test_overlapping_key_ranges_are_refused() -> None:
    extra = '\n[shards.kv-02]\napp = "kv"\nhost = "h2"\nstart = "serve"\nkeys = [100, 65536]\n'
    with pytest.raises(ConfigError, match=r"kv-02\.keys.*overlaps"):
        parse_fleet(GOOD + extra, "fleet.toml")


@given(st.text(max_size=400))
def test_no_text_at_all_makes_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_fleet(text, "fleet.toml")


@given(st.dictionaries(st.sampled_from(["name", "cpu", "host", "x"]), st.integers() | st.text() | st.booleans()))
def test_values_of_any_type_make_nothing_but_a_config_error(values: dict[str, object]) -> None:
    rows = "\n".join(f"{k} = {str(v).lower() if isinstance(v, bool | int) else _quoted(v)}" for k, v in values.items())
    for section in ("fleet", "policy", "oracle", "ssh", "hosts.h3", "shards.s", "defaults.host"):
        with contextlib.suppress(ConfigError):
            parse_fleet(f"{GOOD.replace('[policy]', '[ssh]').replace('horizon', '#')}\n[{section}]\n{rows}\n", "f")


def _quoted(value: object) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" for c in str(value) if not 0xD800 <= ord(c) < 0xE000) + '"'


words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    hosts=st.lists(words, min_size=1, max_size=4, unique=True),
    shards=st.lists(words, max_size=5, unique=True),
    command=st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1),
    cpu=st.floats(0.01, 4096),
    quantile=st.floats(0.05, 0.99),
)
def test_a_fleet_that_is_written_reads_back_equal(
    hosts: list[str], shards: list[str], command: str, cpu: float, quantile: float
) -> None:
    spec = FleetSpec(
        name=Label("x"),
        source="f.toml",
        hosts=tuple(
            HostSpec(name=Label(h), address=f"10.0.0.{i}", cpu=cpu, memory=1 << 30, cost=0.25, cordoned=i == 1)
            for i, h in enumerate(hosts)
        ),
        shards=tuple(
            ShardSpec(
                name=Label(s), app=Label("kv"), host=Label(hosts[0]), start=f"x{command}", ready=command, port=9 + i
            )
            for i, s in enumerate(shards)
        ),
        policy=Policy(quantile=quantile),
    )
    assert parse_fleet(dump_fleet(spec), "f.toml") == spec
