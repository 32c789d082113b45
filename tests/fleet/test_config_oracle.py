"""The fleet file on competing forecasters: what is read, and what is refused with line and remedy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tomli

from sidestep.fleet import schema
from sidestep.fleet.config import ConfigErrors, dump_fleet, parse_documents, parse_fleet
from sidestep.fleet.config_document import read_document
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import CandidateSpec, TrainerSpec
from sidestep.fleet.labels import Label

GOOD = """\
[fleet]
name = "demo"

[oracle]
model = "aggregate"
season = "1d"

[oracle.trainer]
every = "30m"
history = "7d"
margin = 0.05
budget = 120

[oracle.candidates.theta]
model = "sktime.forecasting.theta.ThetaForecaster"
params = { sp = "season", deseasonalize = true }
group = "web"
metrics = ["cpu", "net"]

[oracle.candidates.plain]
model = "persistence"

[groups.web]
hosts = ["h1"]

[hosts.h1]
address = "a"

[shards.kv-01]
app = "kv"
host = "h1"
start = "serve"
"""


def wrong(old: str, new: str) -> ConfigError:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_fleet(GOOD.replace(old, new), "fleet.toml")
    assert caught.value.exit_code == 2
    return caught.value


def test_candidates_and_the_trainer_are_read_and_written_back_equal() -> None:
    spec = parse_fleet(GOOD, "fleet.toml")
    assert spec.oracle.trainer == TrainerSpec(every=1800.0, history=7 * 86400.0, margin=0.05, budget=120.0)
    theta, plain = spec.oracle.candidates
    assert theta == CandidateSpec(
        name=Label("theta"),
        model="sktime.forecasting.theta.ThetaForecaster",
        params='{"deseasonalize": true, "sp": "season"}',
        group="web",
        metrics=("cpu", "net"),
    )
    assert (plain.params, plain.group, plain.metrics) == ("{}", "", ("cpu",))
    again = parse_fleet(dump_fleet(spec), "fleet.toml")
    assert again.oracle == spec.oracle


def test_a_file_without_them_has_the_defaults() -> None:
    text = GOOD[: GOOD.index("[oracle.trainer]")] + GOOD[GOOD.index("[groups.web]") :]
    oracle = parse_fleet(text, "f.toml").oracle
    assert (oracle.candidates, oracle.trainer) == ((), TrainerSpec())


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "remedy"),
    [
        ('["cpu", "net"]', '["cpu", "memroy"]', 18, "'memroy' is not forecast; did you mean memory?", "psi_cpu"),
        ('["cpu", "net"]', "[]", 18, "must not be empty", "psi_cpu"),
        ('["cpu", "net"]', '["cpu", "cpu"]', 18, "must name each metric once", "psi_cpu"),
        ('["cpu", "net"]', '"cpu"', 18, "must be a list of metrics", "psi_cpu"),
        ('["cpu", "net"]', '["read_ops"]', 18, "hosts, and they have none of these", "psi_io"),
        ('group = "web"', 'group = "wbe"', 17, "neither a group of hosts nor an app", "did you mean web?"),
        ('group = "web"\nmetrics = ["cpu", "net"]', 'group = "kv"\nmetrics = ["psi_io"]', 18,
         "kv is an app, and shards have none of these", "read_ops"),
        ('{ sp = "season", deseasonalize = true }', "{ sp = 1979-05-27 }", 16, "holds a date or a time", "sp = 24"),
        ('{ sp = "season", deseasonalize = true }', "{ sp = nan }", 16, "not finite", "sp = 24"),
        ('{ sp = "season", deseasonalize = true }', '{ "a b" = 1 }', 16, "cannot be a parameter", "sp = 24"),
        ('{ sp = "season", deseasonalize = true }', "{ class = 1 }", 16, "cannot be a parameter", "sp = 24"),
        ('{ sp = "season", deseasonalize = true }', "24", 16, "must be a table of parameters", "sp = 24"),
        ('"sktime.forecasting.theta.ThetaForecaster"', '"os; rm"', 15, "not the path of a Python class", "sktime."),
        ('model = "sktime.forecasting.theta.ThetaForecaster"\n', "", 14, "model: is missing",
         "[oracle.candidates.theta]"),
        ('model = "persistence"', 'model = "persistence"\nparams = { sp = 2 }', 22, "takes no parameters",
         "leave params"),
        ("[oracle.candidates.plain]", "[oracle.candidates.theta]", 20, "declared twice", "delete"),
        ("[oracle.candidates.plain]", '[oracle.candidates."../x"]', 20, "not a usable name", "letters"),
        ('[oracle.candidates.plain]\nmodel = "persistence"', "[oracle.candidates]\nplain = 4", 21,
         "is a table, not a value", "[oracle.candidates.plain]"),
        ("[oracle.candidates.plain]", "[oracle.candidates.aggregate]", 20, "name of the model that it competes with",
         "another name"),
        ('model = "aggregate"', 'model = "agregate"', 5, "'agregate': is no model; did you mean aggregate?",
         "write one of aggregate"),
        ('model = "aggregate"', 'model = "magic"', 5, "oracle.model = 'magic': is no model", "persistence, seasonal"),
        ('model = "aggregate"', "model = 3", 5, "must be a text", "write one of aggregate"),
        ('model = "aggregate"', 'model = "sktime.forecasting.theta.ThetaForecaster"', 5,
         "only a model of ours serves; name it under [oracle.candidates.NAME]", "write one of aggregate"),
        ("every = ", "evrey = ", 9, "unknown key", "did you mean every?"),
        ("margin = 0.05", "margin = 2", 11, "at most 0.9", "0.03"),
        ("[oracle.trainer]", "[oracle.trianer]", 8, "unknown", "trainer"),
        ("[oracle]\n", "[oracle]\ntrainer = 3\n", 9, "", ""),
    ],
)  # fmt: skip
def test_each_mistake_names_file_line_value_and_remedy(old: str, new: str, line: int, said: str, remedy: str) -> None:
    """S1.5."""
    error = wrong(old, new)
    assert error.line == line, str(error)
    assert said in str(error)
    assert remedy in str(error)
    assert not isinstance(error, ConfigErrors)


def test_a_model_may_be_a_plugins_where_that_is_installed() -> None:
    """X4: a word is ours or a plugin's; where nobody knows the plugins, any word may be one's."""
    document = read_document(GOOD.replace('model = "persistence"', 'model = "persistance"'), "fleet.toml")
    assert parse_documents([document]).oracle.candidates[1].model == "persistance"
    assert parse_documents([document], plugged=lambda group: {"persistance"})
    with pytest.raises(ConfigError, match="is no model; did you mean persistence") as caught:
        parse_documents([document], plugged=lambda group: set())
    assert caught.value.line == 21
    assert "needs its package installed here" in str(caught.value)


def test_a_group_may_be_any_name_while_an_app_cannot_be_read() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fleet(GOOD.replace('app = "kv"', "app = 7").replace('group = "web"', 'group = "kv"'), "fleet.toml")
    assert not isinstance(caught.value, ConfigErrors)
    assert caught.value.key == "shards.kv-01.app"


def test_another_file_may_override_a_candidate_but_not_declare_it_again() -> None:
    first = read_document(GOOD, "a.toml")
    over = "[oracle.candidates.theta]\noverride = true\nparams = { sp = 12 }\n"
    spec = parse_documents([first, read_document(over, "b.toml")])
    assert (spec.oracle.candidates[0].params, spec.oracle.candidates[0].group) == ('{"sp": 12}', "web")
    with pytest.raises(ConfigError, match=r"a\.toml:14") as caught:
        parse_documents([first, read_document(over.replace("override = true\n", ""), "b.toml")])
    assert (caught.value.file, caught.value.line) == ("b.toml", 1)


@pytest.mark.parametrize("said", ["0", "0.0", '"0s"'])
def test_a_step_of_nothing_is_found_by_itself_and_a_tiny_one_is_refused(said: str) -> None:
    text = GOOD.replace('season = "1d"', f"step = {said}")
    spec = parse_fleet(text, "f.toml")
    assert spec.oracle.step == 0.0
    assert parse_fleet(dump_fleet(spec), "f.toml").oracle == spec.oracle
    for wrong_one in ("0.01", "false", '"soon"', "-1"):
        with pytest.raises(ConfigError, match="or 0 to have it found"):
            parse_fleet(text.replace(f"step = {said}", f"step = {wrong_one}"), "f.toml")


def test_the_schema_describes_them() -> None:
    oracle = schema.schema()["properties"]["oracle"]["properties"]
    assert set(oracle["trainer"]["properties"]) == {"enabled", "every", "history", "margin", "budget", "override"}
    assert set(oracle["candidates"]["additionalProperties"]["properties"]) == {
        "model", "params", "group", "metrics", "override",
    }  # fmt: skip
    assert tomli.loads(GOOD)["oracle"]["trainer"]["margin"] == 0.05


def test_reading_a_fleet_file_loads_no_sktime() -> None:
    """S1.26: whether a forecaster exists is found out where it runs."""
    program = (
        "import sys, json; from sidestep.fleet.config import parse_fleet; parse_fleet(sys.stdin.read(), 'f.toml');"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], input=GOOD, capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in json.loads(done.stdout)} & {"sktime", "pandas", "scipy", "sklearn"}
