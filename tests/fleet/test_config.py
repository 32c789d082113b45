"""The fleet file: what is wrong is named with file, line, value and remedy, all of it at once."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.config import ConfigErrors, dump_fleet, parse_fleet
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
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
SECOND = '\n[shards.kv-02]\napp = "kv"\nhost = "h2"\nstart = "serve"\nkeys = [100, 65536]\n'


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
        ('address = "127.0.0.1"\n', "", 11, "hosts.h1.address: is missing", "[hosts.h1]"),
        ("[hosts.h2]", "[hosts.h1]", 16, "hosts.h1: is declared twice; the first is on line 11", "delete"),
        ("cpu = 4", "cpu = 4\ncpu = 5", 14, "hosts.h1.cpu: is declared twice; the first is on line 13", "delete"),
        ('host = "h1"', 'host = "h9"', 24, "is no host of this fleet", "[hosts.h9]"),
        ("keys = [0, 65536]", "keys = [0, 100]", 26, "keys 100..65535 of app kv belong to nobody", "65536"),
        ("keys = [0, 65536]", "keys = [9, 9]", 26, "first key below its end", "[0, 32768]"),
        ("keys = [0, 65536]", 'driver = "hook"', 22, "is missing", "save and load"),
        ("keys = [0, 65536]", 'driver = "teleport"', 26, "must be one of restart, hook", "restart"),
        ("keys = [0, 65536]", 'driver = "criu"\nreplicas = 1', 27, "keeps no capsules", 'driver = "hook"'),
        ("keys = [0, 65536]", 'driver = "criu"\nfailover = "capsule"', 27, "keeps no capsules", 'driver = "hook"'),
        ("keys = [0, 65536]", 'driver = "criu"\nstate_path = "/var/kv"', 27, "see the same files", "use STATE"),
        ("keys = [0, 65536]", 'avoid = ["nobody"]', 26, "neither a shard nor an app", "name"),
        ("keys = [0, 65536]", "priority = 9", 26, "between 1 and 5", "1 (highest)"),
        ('name = "demo"', 'name = "de\\u001bmo"', 2, "is not a usable name", "letters"),
        ('name = "demo"', 'name = "../../demo"', 2, "is not a usable name", "letters"),
        ("[fleet]\n", '[fleet]\nbanner = "a\\u202eb"\n', 2, "must be printable", ""),
        ('"127.0.0.1"', '"-oProxyCommand=x"', 12, "one word", "10.0.0.7"),
        ('app = "kv"', 'app = ""', 23, "shards.kv-01.app = '': is not a usable name", "letters"),
        ('memory = "512M"', "memory = nan", 14, "must be finite", "512M"),
        ("cpu = 4", f"cpu = 1{'0' * 400}", 13, "far too large", "cores"),
        ("[hosts.h1]", "[hosts]\nh3 = 4\n[hosts.h1]", 12, "hosts.h3 = 4: is a table, not a value", "[hosts.h3]"),
        ("[shards.kv-01]", '[shards."../../etc"]', 22, "is not a usable name", "letters"),
        ("port = 22\n", "port = 99999\n", 20, "between 1 and 65535", "port"),
        ("[fleet]", "[fleet", 1, "not TOML", "syntax"),
        ('horizon = "15m"', 'horizon = "15 parsecs"', 6, "not a duration", "15m"),
        ('horizon = "15m"', "quantile = 2", 6, "policy.quantile = 2", "0.8"),
    ],
)
def test_each_mistake_names_file_line_value_and_remedy(old: str, new: str, line: int, said: str, remedy: str) -> None:
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


def test_contradictions_are_named_beside_wrong_values_and_blame_nobody_twice() -> None:
    text = GOOD.replace("cpu = 0.5", "cpu = -1") + SECOND.replace('"h2"', '"h9"').replace("[100", "[0")
    text += '[shards.db]\napp = "db"\nhost = "h2"\nstart = "serve"\nkeys = [0, 10]\navoid = ["kv-02", "kv"]\n'
    with pytest.raises(ConfigErrors) as caught:
        parse_fleet(text, "fleet.toml")
    assert [p.key for p in caught.value.problems] == ["hosts.h2.cpu", "shards.kv-02.host", "shards.kv-02.keys",
                                                      "shards.db.keys"]  # fmt: skip


def test_ranges_of_an_app_are_not_judged_while_one_of_its_shards_cannot_be_read() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fleet(GOOD.replace("[0, 65536]", "[0, 100]") + SECOND.replace("keys", "kyes"), "fleet.toml")
    assert caught.value.key == "shards.kv-02.kyes"


def test_a_name_that_is_wrong_is_not_missing_as_well() -> None:
    assert not isinstance(wrong('name = "demo"', "name = 7"), ConfigErrors)


def test_a_default_that_is_wrong_is_named_once() -> None:
    error = wrong("port = 2222", 'port = "x"\nmemory = "y"')
    assert isinstance(error, ConfigErrors)
    assert [p.key for p in error.problems] == ["defaults.host.port", "defaults.host.memory"]


@pytest.mark.parametrize(
    "before",
    [
        'notice = \'"""\'',
        'notice = "x" # """ it\'s [',
        'notice = """\\\n  [hosts.h9]\\\n  cpu = 1"""',
        'notice = "a#[{"',
        "router = '''\n[\n'''",
    ],
)
def test_no_comment_and_no_text_misleads_about_the_line(before: str) -> None:
    text = GOOD.replace('interval = "2s"', before).replace("cpu = 0.5", "cpu = -1")
    with pytest.raises(ConfigError) as caught:
        parse_fleet(text, "fleet.toml")
    assert text.split("\n")[caught.value.line - 1] == "cpu = -1"


def test_a_list_over_several_lines_stands_on_its_first() -> None:
    text = GOOD + 'avoid = [ # [\n  """\nno\n""",\n  "kv",\n]\npriority = 9\n'
    with pytest.raises(ConfigErrors) as caught:
        parse_fleet(text, "fleet.toml")
    assert [p.line for p in caught.value.problems] == [27, 33]


def test_a_list_in_a_list_is_not_taken_for_a_table() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_fleet(GOOD + 'avoid = [\n  ["kv"],\n]\npriority = 9\n', "fleet.toml")
    assert [(p.key, p.line) for p in caught.value.problems] == [
        ("shards.kv-01.avoid", 27),
        ("shards.kv-01.priority", 30),
    ]


def test_keys_in_an_inline_table_have_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fleet('fleet.name = "x"\n\n[hosts]\nh1 = {address = "a", cpu = 0, memory = "1G"}\n', "f")
    assert (caught.value.line, caught.value.key) == (4, "hosts.h1.cpu")


def test_overlapping_key_ranges_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"kv-02\.keys.*overlaps"):
        parse_fleet(GOOD + SECOND, "fleet.toml")


@given(st.text(max_size=400))
def test_no_text_at_all_makes_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_fleet(text, "fleet.toml")


@given(
    st.dictionaries(
        st.sampled_from(["name", "cpu", "host", "hosts", "address", "reserve_cpu", "labels", "override", "x"]),
        st.integers() | st.text() | st.booleans(),
    )
)
def test_values_of_any_type_make_nothing_but_a_config_error(values: dict[str, object]) -> None:
    rows = "\n".join(f"{k} = {str(v).lower() if isinstance(v, bool | int) else _quoted(v)}" for k, v in values.items())
    for section in (
        "fleet",
        "policy",
        "oracle",
        "ssh",
        "hosts.h3",
        "hosts.'h[1-2]'",
        "groups.g",
        "shards.s",
        "defaults.host",
    ):
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
            HostSpec(
                name=Label(h),
                address=f"10.0.0.{i}",
                cpu=cpu,
                memory=1 << 30,
                cost=0.25,
                cordoned=i == 1,
                zone=Label("a b"),
                labels=((Label("tier"), Label("web app")),),
                rack=Label("r 1"),
                disk=i << 30,
                standby=i == 3,
            )
            if i != 2
            else HostSpec(
                name=Label(h),
                address="10.0.0.2",
                reserve_cpu_percent=quantile * 100,
                reserve_memory=1 << 20,
                labels=((Label("a.b"), Label('"')), (Label("rack"), scrub(command))),
                groups=(Label("g.1"), Label("web")),
                identity="~/k y",
                jump="ops@j1:22,[fd00::1]:2222",
                sampler="sftp",
            )
            for i, h in enumerate(hosts)
        ),
        shards=tuple(
            ShardSpec(
                name=Label(s),
                app=Label("kv"),
                host=Label(hosts[0]),
                start=f"x{command}",
                ready=command,
                port=9 + i,
                keys=None if i else (0, KEYS),
                driver="hook",
                save="s",
                load=command + "l",
                avoid=(Label(shards[0]),),
                prefer_near=(Label("kv"),),
                spread=("", "host", "zone")[i % 3],
                requires=() if i else ((Label("tier"), Label("web app")),),
                disk=i << 18,
                guarantee_cpu=min(cpu, 0.5) * i / 8,
                guarantee_memory=i << 10,
                limit_cpu=0.5,
                limit_memory=1 << 30,
                splittable=i == 1,
                priority=1 + i,
                pinned=i == 2,
            )
            for i, s in enumerate(shards)
        ),
        policy=Policy(
            quantile=quantile,
            max_moves=3,
            aggressiveness=5,
            prefer="bytes",
            goals=(Label("cost"), Label("their-goal")),
            constraints=(Label("residency"),),
            kinds=("migrate", "activate"),
            tolerate="host",
            split_windows=(2, 7),
            quantum_cpu=cpu,
            seed=7,
        ),
        oracle=OracleSpec(enabled=False, season=0.0),
        level="full",
        router="/run/r.sock",
        known_hosts='/home/"x"/known_hosts',
        ssh_config="none",
        passphrase="command:pass show 'fleet'",
        keepalive=quantile * 10,
        handshakes=99,
        handshakes_per_address=3,
        round_trips="off",
        notice=Label("größe"),
    )
    assert parse_fleet(dump_fleet(spec), "f.toml") == spec
