"""Actions of plugins in the fleet file: read whole, written back as they are, and every mistake named with its line."""

from __future__ import annotations

import pytest

from sidestep.fleet.config import dump_fleet, parse_documents, parse_fleet
from sidestep.fleet.config_document import read_document
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.extensions import ACTIONS

FLEET = """\
[fleet]
name = "f"

[policy]
kinds = ["migrate", "apply"]

[hosts.h1]
address = "192.0.2.1"

[shards.b-1]
app = "batch"
host = "h1"
start = "run"

"""


def test_an_action_is_read_and_written_back_as_it_is() -> None:
    text = FLEET + '[action.pause]\nplugin = "hook"\napps = ["batch"]\nparams = { loss = 1.0, says = "naps" }\n'
    spec = parse_fleet(text + '[action.cores]\nshards = ["b-1"]\n', "fleet.toml")
    pause, cores = spec.actions
    assert (pause.name, pause.plugin, pause.apps, pause.params) == (
        "pause", "hook", ("batch",), '{"loss": 1.0, "says": "naps"}'
    )  # fmt: skip
    assert (cores.plugin, cores.shards, cores.params) == ("cores", ("b-1",), "{}")
    assert pause.covers("b-7", "batch") and cores.covers("b-1", "x") and not cores.covers("b-2", "batch")
    assert parse_fleet(dump_fleet(spec), "fleet.toml").actions == spec.actions


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[action.pause]\n", "names neither apps nor shards"),
        ('[action.pause]\napps = ["bach"]\n', "is no app of this fleet"),
        ('[action.pause]\nshards = ["b-2"]\n', "did you mean b-1"),
        ('[action.pause]\napps = ["batch"]\nparams = 3\n', "must be a table of parameters"),
        ('[action.pause]\napps = ["batch"]\npasswort = "x"\n', "seems to be a secret"),
        ('[action."a b"]\napps = ["batch"]\n', "is not a usable name"),
        ('[action.hook]\napps = ["batch"]\nplugn = "hook"\n', "did you mean plugin"),
    ],
)
def test_every_mistake_is_named(table: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_fleet(FLEET + table, "fleet.toml")


@pytest.mark.parametrize("table", ['plugin = "hok"\n', ""], ids=["named", "its own name"])
def test_a_plugin_that_is_not_installed_is_no_action(table: str) -> None:
    document = read_document(FLEET + '[action.hok]\napps = ["batch"]\n' + table, "fleet.toml")

    def plugged(group: str) -> frozenset[str]:
        return frozenset({"hook"}) if group == ACTIONS else frozenset({"process", "asyncssh"})

    with pytest.raises(ConfigError, match="is no action of a plugin") as caught:
        parse_documents([document], plugged=plugged)
    assert "did you mean hook" in str(caught.value)
