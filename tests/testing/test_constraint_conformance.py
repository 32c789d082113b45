"""X5: a constraint that breaks one rule of its contract is found out, and the rule is named."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidestep.fleet import extensions
from sidestep.fleet.errors import UsageError
from sidestep.planning.constraints import ConstraintMaker
from sidestep.plugins import CONSTRAINTS, About, Constraint, PluginError
from sidestep.plugins.makers import Makers
from sidestep.testing import check_constraint, constraint_rules
from sidestep.testing.__main__ import main
from sidestep.testing.constraints import fleet

Answer = tuple[np.ndarray, np.ndarray]


class Residency:
    """Keeps every rule: apps called eu-… stay where the zone is."""

    def __init__(self, about: About) -> None:
        self.about = about

    def forbidden(self) -> Answer:
        """What it forbids."""
        european = np.char.startswith(self.about.shard_apps, "eu-")
        return np.where(european, 0, -1), ~np.char.startswith(self.about.zones, "eu-")[None, :]


class NeedsAHost(Residency):
    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        return group, mask | (self.about.hosts[0] == "")


class KnowsOnlyTheDeclared(Residency):
    def forbidden(self) -> Answer:
        zones = {host.name: host.zone for host in self.about.fleet.hosts}
        return super().forbidden()[0], np.array([[not zones[host] for host in self.about.hosts]], dtype=np.bool_)


class Fractions(Residency):
    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        return group * 1.0, mask


class ANumberForTruth(Residency):
    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        return group, mask.astype(np.int8)


class OneRowShort(Residency):
    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        return group[1:], mask


class CountsFromOne(Residency):
    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        return group + 1, mask[:, :]


class Moody(Residency):
    asked = itertools.count()

    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        return group, mask ^ bool(next(self.asked) % 2)


class ByRow(Residency):
    """Forbids the first host, whichever that is."""

    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        mask[:, :1] = True
        return group, mask


class Writes(Residency):
    def forbidden(self) -> Answer:
        self.about.domains[:] = 0
        return super().forbidden()


class AGroupAShard(Residency):
    def forbidden(self) -> Answer:
        count = len(self.about.names)
        return np.arange(count), np.zeros((count, len(self.about.hosts)), dtype=np.bool_)


class Slow(Residency):
    """Looks at every shard on every host."""

    def forbidden(self) -> Answer:
        group, mask = super().forbidden()
        for shard, host in itertools.product(self.about.names, self.about.hosts):
            mask[0, 0] |= len(shard) * len(host) < 0
        return group, mask


MUTANTS: dict[type[Residency], tuple[str, ...]] = {
    NeedsAHost: ("answers",),
    KnowsOnlyTheDeclared: ("strangers",),
    Fractions: tuple(constraint_rules()),
    ANumberForTruth: tuple(constraint_rules()),
    OneRowShort: tuple(constraint_rules()),
    CountsFromOne: tuple(constraint_rules()),
    Moody: ("same",),
    ByRow: ("order",),
    Writes: ("pure",),
    AGroupAShard: ("large",),
}


def test_a_constraint_that_keeps_every_rule_passes() -> None:
    card = check_constraint(Residency, "residency")
    assert card.ok and [found.rule for found in card.findings] == list(constraint_rules())
    assert "6 holds" in card.text() and isinstance(Residency(made()), Constraint)


def made() -> About:
    return About.declared(fleet(3, 2, 1))


@pytest.mark.parametrize("kind", [*MUTANTS], ids=lambda kind: kind.__name__)
def test_a_broken_constraint_is_found_out_by_the_rule_that_it_breaks(kind: type[Residency]) -> None:
    broken = check_constraint(kind, "mutant").broken
    assert set(broken) <= set(MUTANTS[kind]) | ({"order"} if kind is Moody else set())
    assert broken and MUTANTS[kind][0] in broken


def test_one_that_asks_shard_by_shard_and_host_by_host_costs_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the processor stands still but for what the loop counts."""
    spent = [0.0]
    monkeypatch.setattr("sidestep.testing.constraints.LARGE", (200, 50))
    monkeypatch.setattr("sidestep.testing.constraints.time.process_time", lambda: spent[0])

    class Counted(Slow):
        def forbidden(self) -> Answer:
            spent[0] += len(self.about.names) * len(self.about.hosts) * 1e-3
            return super().forbidden()

    assert check_constraint(Counted, "slow", only=("large",)).broken == ("large",)
    assert check_constraint(Residency, "quick", only=("large",)).ok


def test_the_constraint_of_the_page_keeps_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page.split("## Constraints")[1], re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(code, names)
    card = check_constraint(names["Residency"], "residency")
    assert card.ok, card.text()
    assert names["Residency"](made()).forbidden()[1].shape == (1, 2)


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no rule is called"):
        check_constraint(Residency, "residency", only=("nothing",))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(target: str) -> None:
        entry = EntryPoint(name="theirs", value=target, group=CONSTRAINTS)
        found = extensions.entries

        def entries(group: str) -> Any:
            return {"theirs": entry} if group == CONSTRAINTS else found(group)

        monkeypatch.setattr(extensions, "entries", entries)

    return install


def test_an_installed_constraint_is_checked_by_name(
    installed: Callable[[str], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidestep.testing.constraints.Theirs", Residency, raising=False)
    installed("sidestep.testing.constraints:Theirs")
    assert main(["theirs"]) == 0
    assert "theirs (fleets made up): constraint" in capsys.readouterr().out
    monkeypatch.setattr("sidestep.testing.constraints.Theirs", ByRow)
    assert main(["theirs", "--json", "--only", "order,pure"]) == 1
    card = json.loads(capsys.readouterr().out)
    assert [(found["rule"], found["verdict"]) for found in card["findings"]] == [("order", "broken"), ("pure", "holds")]
    assert "is judged otherwise" in card["findings"][0]["detail"]


def test_a_constraint_is_imported_when_a_plan_asks_for_it_and_says_why_it_cannot_be(
    installed: Callable[[str], None],
) -> None:
    plugged = Makers[ConstraintMaker](CONSTRAINTS)
    installed("no_such_module_anywhere:X")
    assert "theirs" in plugged and "others" not in plugged and list(plugged) == ["theirs"] and len(plugged) == 1
    with pytest.raises(PluginError, match="theirs"):
        plugged["theirs"](made())
    with pytest.raises(KeyError):
        plugged["others"]
    installed("sidestep.fleet.labels:LIMIT")
    with pytest.raises(PluginError, match="cannot be called"):
        Makers[ConstraintMaker](CONSTRAINTS)["theirs"](made())
