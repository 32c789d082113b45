"""Named policies: shipped ones are good, compose as documented, and what is wrong is named with its file and line."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from test_fleet_file_reference import accepts

from sidestep.fleet import policies, schema
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.policies import NamedPolicy

ROOT = Path(__file__).resolve().parents[2]
FLEET = '[fleet]\nname = "demo"\n\n[hosts.h1]\naddress = "10.0.0.1"\n\n[policy]\n'


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of policies, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = policies.user_dir()
    folder.mkdir(parents=True)
    return folder


def policy(*lines: str) -> Policy:
    return parse_fleet(FLEET + "\n".join(lines) + "\n", "fleet.toml").policy


def refused(*lines: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        policy(*lines)
    assert caught.value.exit_code == 2
    return caught.value


def test_every_shipped_policy_is_good_says_what_it_does_and_fulfils_the_schema() -> None:
    """S3.14-S3.17: proactive, cost-aware, affinity and anti-affinity are named policies."""
    shipped = {each.name: each for each in policies.known()}
    assert {"proactive", "cost-aware", "affinity", "anti-affinity", "cautious", "rebalance"} <= set(shipped)
    for name, each in shipped.items():
        assert (each.problem, each.shipped) == ("", True)
        assert each.does.endswith(".")
        assert Path(each.source) == ROOT / "policies" / f"{name}.toml"
        assert accepts(_known_words(schema.policy_schema()), tomli.loads(Path(each.source).read_text(encoding="utf-8")))
        made = policy(f'use = ["{name}"]')
        assert made.name == name
        assert made != msgspec.structs.replace(Policy(), name=made.name) or name == "proactive"


def _known_words(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key != "required"}


def test_the_published_schema_is_that_of_the_fields() -> None:
    published = (ROOT / "fleet" / "policy.schema.json").read_text(encoding="utf-8")
    assert published == schema.policy_page(), "run: python -m scripts.fleet_file"
    assert json.loads(published)["required"] == ["does"]


def test_the_page_says_of_every_shipped_policy_what_it_does() -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    named, goals = page.split("## Goals")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", named, re.MULTILINE))
    assert rows == {each.name: each.does for each in policies.known()}
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", goals, re.MULTILINE)) == policies.GOALS


def test_the_default_policy_is_the_proactive_one() -> None:
    assert policy('use = ["proactive"]') == Policy() == policy()


def test_later_policies_win_and_the_files_own_keys_lie_on_top() -> None:
    made = policy('use = ["rebalance", "cautious"]', "max_moves = 5")
    assert (made.max_moves, made.aggressiveness, made.prefer) == (5, 2, "bytes")
    assert made.name == "rebalance+cautious"
    assert policy('use = ["cautious", "rebalance"]').aggressiveness == 5
    assert policy('use = ["cautious"]', 'name = "night"').name == "night"


def test_goals_and_kinds_are_continued_without_repeats() -> None:
    made = policy('use = ["cost-aware", "proactive", "elastic"]', 'goals = ["spread", "cost"]', 'kinds = ["resize"]')
    assert made.goals == ("cost", "headroom", "spread")
    assert made.kinds == ("migrate", "activate", "deactivate", "split", "merge", "resize")


def test_a_composed_policy_reads_back_from_what_is_written_of_it() -> None:
    spec = parse_fleet(FLEET + 'use = ["cost-aware", "cautious"]\n', "fleet.toml")
    written = dump_fleet(spec)
    assert not re.search(r"^use =", written, re.MULTILINE)
    assert parse_fleet(written, "fleet.toml") == spec


def test_a_policy_of_ones_own_uses_others_and_hides_a_shipped_one_of_its_name(own: Path) -> None:
    (own / "night.toml").write_text('does = "Quiet."\n[policy]\nuse = ["cautious"]\nsettle = "1h"\n')
    (own / "proactive.toml").write_text('does = "Mine."\n[policy]\nquantile = 0.95\n')
    made = policy('use = ["night", "proactive"]')
    assert (made.settle, made.max_moves, made.quantile) == (3600.0, 2, 0.95)
    listed = {each.name: each for each in policies.known()}
    assert (listed["proactive"].does, listed["proactive"].shipped) == ("Mine.", False)
    assert listed["night"].source == str(own / "night.toml")


def test_what_two_policies_both_use_is_laid_once_before_both(own: Path) -> None:
    (own / "one.toml").write_text('does = "1."\n[policy]\nuse = ["cautious"]\nmax_moves = 11\n')
    (own / "two.toml").write_text('does = "2."\n[policy]\nuse = ["cautious"]\nsettle = 7\n')
    made = policy('use = ["one", "two"]')
    assert (made.max_moves, made.settle, made.quantile) == (11, 7.0, 0.9)


def test_a_name_that_nobody_knows_is_named_with_the_line_and_the_nearest() -> None:
    error = refused("", 'use = ["proactive", "cost-awar"]')
    assert (error.file, error.line) == ("fleet.toml", 9)
    assert "policy.use = 'cost-awar': no policy has this name" in str(error)
    assert "did you mean cost-aware?" in str(error)


@pytest.mark.parametrize(
    ("text", "line", "said", "remedy"),
    [
        ('does = "x."\n[policy]\nquantile = 2\n', 3, "policy.quantile = 2: must be at least 0.05", "0.8"),
        ('does = "x."\n[policy]\nquantil = 0.5\n', 3, "unknown key", "did you mean quantile?"),
        ("[policy]\nmax_moves = 1\n", 0, "does: is missing", "does ="),
        ("does = 7\n", 1, "does = 7: must be a text, not a number", "in a sentence"),
        ('does = "a\\u001bb"\n', 1, "must be a printable text", "in a sentence"),
        ('does = "x."\npolicy = 7\n', 2, "is a table, not a value", "[policy]"),
        ('does = "x."\n[polic]\n', 2, "unknown key or section", "did you mean policy?"),
        ('does = "x."\n[policy]\nname = "y"\n', 3, "the file's name is the policy's", "remove it"),
        ('does = "x."\n[policy]\noverride = true\n', 3, "overrides nothing", "remove it"),
        ('include = ["b.toml"]\ndoes = "x."\n', 1, "includes nothing", "use"),
        ('does = "x."\n[policy]\nuse = ["nobody"]\n', 3, "no policy has this name", "known are"),
        ('does = "x."\n\n[policy]\nuse = ["bad"]\n', 4, "goes round in a circle: bad → bad", "remove one"),
        ('does = "x.\n', 1, "not TOML", "toml.io"),
    ],
)
def test_each_mistake_in_a_policy_names_its_file_line_and_remedy(
    own: Path, text: str, line: int, said: str, remedy: str
) -> None:
    (own / "bad.toml").write_text(text)
    error = refused('use = ["bad"]')
    assert (error.file, error.line) == (str(own / "bad.toml"), line), str(error)
    assert said in str(error) and remedy in str(error), str(error)
    (broken,) = (each for each in policies.known() if each.name == "bad")
    assert said in broken.problem
    assert len(policies.known()) > 1


def test_a_circle_over_several_files_names_all_of_them(own: Path) -> None:
    (own / "one.toml").write_text('does = "1."\n[policy]\nuse = ["two"]\n')
    (own / "two.toml").write_text('does = "2."\n[policy]\nuse = ["one"]\n')
    error = refused('use = ["one"]')
    assert "one → two → one" in str(error)
    assert error.file == str(own / "two.toml")


def test_a_policy_that_is_no_text_or_cannot_be_read_is_named(own: Path) -> None:
    (own / "bad.toml").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in str(refused('use = ["bad"]'))
    (own / "bad.toml").unlink()
    (own / "bad.toml").mkdir()
    assert "cannot be read" in str(refused('use = ["bad"]'))


def test_a_policy_laid_over_another_keeps_what_it_does_not_name() -> None:
    declared = policy("horizon = 900", "max_moves = 3")
    over = policies.over(declared, ["cost-aware"])
    assert (over.horizon, over.max_moves, over.goals, over.name) == (900.0, 3, ("cost",), "cost-aware")
    spread = policies.over(policy('goals = ["spread"]'), ["cost-aware"])
    assert spread.goals == ("spread", "cost")
    assert policies.over(declared, []) is declared


GOALS = ["headroom", "cost", "theirs", "spread"]
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "max_moves": st.integers(1, 9),
        "settle": st.floats(0, 100),
        "goals": st.lists(st.sampled_from(GOALS), min_size=1, unique=True).map(tuple),
        "kinds": st.lists(st.sampled_from(["migrate", "split", "merge"]), min_size=1, unique=True).map(tuple),
        "constraints": st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True).map(tuple),
    },
)


@given(st.lists(KEYS, max_size=5), KEYS)
def test_composition_takes_the_last_value_and_every_goal_once_in_the_order_of_first_mention(
    tables: list[dict[str, Any]], top: dict[str, Any]
) -> None:
    library = {
        f"p{i}": NamedPolicy(name=Label(f"p{i}"), does=Label("x."), source="-", shipped=False, values=values)
        for i, values in enumerate(tables)
    }
    values = policies.compose(list(library), top, library.__getitem__)
    layers = [*tables, top]
    for key in ("max_moves", "settle"):
        written = [layer[key] for layer in layers if key in layer]
        assert values.get(key) == (written[-1] if written else None)
    for key in policies.LISTS:
        mentioned = [item for layer in layers for item in layer.get(key, ())]
        assert values.get(key, ()) == tuple(dict.fromkeys(mentioned))
    Policy(**values)


@given(st.lists(KEYS, min_size=2, max_size=5), st.data())
def test_composition_is_the_same_however_it_is_grouped(tables: list[dict[str, Any]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(tables) - 1))
    grouped = policies.merged([policies.merged(tables[:cut]), policies.merged(tables[cut:])])
    assert grouped == policies.merged(tables)


def test_every_level_of_aggressiveness_changes_what_is_proposed() -> None:
    """A predictive knob with no observable effect is a fault (lesson 4)."""
    levels = [Policy(aggressiveness=level) for level in range(1, 6)]
    made = [policies.effective(each) for each in levels]
    assert made[2] == Policy()
    assert [each.min_probability for each in made] == pytest.approx([0.95, 0.75, 0.5, 0.375, 0.25])
    assert [each.min_gain for each in made] == pytest.approx([0.08, 0.04, 0.02, 0.01, 0.0])
    assert [policies.least_priority(each) for each in levels] == [1, 3, 5, 5, 5]


@given(st.floats(0.001, 1), st.floats(0, 1), st.integers(1, 5))
def test_more_aggressiveness_never_asks_for_more(chance: float, gain: float, level: int) -> None:
    less, more = (
        policies.effective(Policy(min_probability=chance, min_gain=gain, aggressiveness=max(1, each)))
        for each in (level - 1, level)
    )
    assert 0 < more.min_probability <= less.min_probability <= 1
    assert 0 <= more.min_gain <= less.min_gain <= 1
    assert policies.effective(more) == more


def test_a_goal_that_nobody_has_is_refused_where_plugins_are_known() -> None:
    from sidestep.fleet.config import parse_documents
    from sidestep.fleet.config_document import read_document

    document = read_document(FLEET + 'goals = ["headrom", "theirs"]\n', "fleet.toml")
    with pytest.raises(ConfigError, match=r"fleet\.toml:8: policy\.goals = 'headrom': is no goal") as caught:
        parse_documents([document], plugged=lambda group: {"theirs"})
    assert "did you mean headroom?" in str(caught.value)
    assert parse_documents([document]).policy.goals == ("headrom", "theirs")


def test_a_constraint_that_nobody_has_is_refused_where_plugins_are_known() -> None:
    from sidestep.fleet.config import parse_documents
    from sidestep.fleet.config_document import read_document

    document = read_document(FLEET + 'constraints = ["residence", "theirs"]\n', "fleet.toml")
    with pytest.raises(ConfigError, match=r"fleet\.toml:8: policy\.constraints = 'residence': is no con") as caught:
        parse_documents([document], plugged=lambda group: {"theirs", "residency"})
    assert "did you mean residency?" in str(caught.value) and "theirs" not in str(caught.value.args[0])
    assert parse_documents([document]).policy.constraints == ("residence", "theirs")


def test_no_policy_that_is_laid_over_another_takes_its_constraints_away() -> None:
    declared = policy('constraints = ["residency"]')
    over = policies.over(declared, ["cost-aware"])
    assert over.constraints == ("residency",) and over.name == "cost-aware"
    more = NamedPolicy(name=Label("more"), does=Label("x."), source="-", shipped=False, values={"constraints": ("b",)})
    assert policies.over(declared, ["more"], lambda name: more).constraints == ("residency", "b")


@given(st.text(max_size=300))
def test_no_text_at_all_makes_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        policies.parse(text, "p.toml", "p")


@given(st.dictionaries(st.sampled_from(["does", "policy", "use", "goals", "x"]), st.integers() | st.booleans()))
def test_values_of_any_type_make_nothing_but_a_config_error(values: dict[str, object]) -> None:
    rows = "\n".join(f"{key} = {str(value).lower()}" for key, value in values.items())
    for text in (rows, f'does = "x."\n[policy]\n{rows}'):
        with contextlib.suppress(ConfigError):
            policies.parse(text, "p.toml", "p")
