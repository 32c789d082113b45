"""What commands print as JSON, against the schemas that are published with the program."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frames import Daemon
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from test_command_line import ask, run

from sidestep import fleet
from sidestep.console.headless import published
from sidestep.fleet.config import dump_fleet, parse_fleet

PUBLISHED = {path.name.split(".")[0]: path for path in Path(fleet.__file__).parent.glob("*.schema.json")}

#: the schema, the command, and whether every item of a list is to keep to it
COMMANDS = [
    ("hosts", ("hosts",), False),
    ("oracle", ("oracle",), False),
    ("forecast", ("forecast", "h2"), False),
    ("forecast", ("forecast", "shop-01", "--at", "+30s"), False),
    ("forecast", ("forecast", "shop", "--metric", "memory"), False),
    ("accuracy", ("forecast", "score"), False),
    ("accuracy", ("forecast", "score", "h2", "--since", "1d"), False),
    ("demand", ("demand",), True),
    ("demand", ("demand", "shop", "--at", "+15m", "--quantum-cpu", "0.5"), True),
    ("plan", ("plan", "new"), False),
    ("plan", ("plan", "new", "--what-if", "lose=h1", "--without-forecast"), False),
    ("plan-diff", ("plan", "diff"), False),
    ("why", ("why", "shop-01"), False),
    ("why", ("why", "shop-02"), False),
    ("why-not", ("why-not", "shop-01", "h1"), False),
    ("best-host", ("best-host", "--cpu", "2", "--memory", "4G"), False),
    ("right-size", ("right-size",), False),
    ("drain", ("drain", "h2", "--dry-run"), False),
]


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(PUBLISHED[name].read_text(encoding="utf-8")))


def strict(text: str) -> Any:
    """JSON as the standard has it: NaN and infinities are none."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema(name).schema)


@pytest.mark.parametrize(("name", "command", "each"), COMMANDS, ids=[" ".join(command) for _, command, _ in COMMANDS])
async def test_what_is_printed_keeps_to_its_schema(
    daemon: Daemon, name: str, command: tuple[str, ...], each: bool
) -> None:
    """S3.11, S1.7."""
    daemon.fleet.quality = {1: (12.0, 2.0, 1.0, math.nan)}
    ran = await ask(daemon, *command, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = strict(ran.out)
    assert found
    for item in found if each else [found]:
        schema(name).validate(item)


async def test_an_oracle_that_cannot_say_anything_keeps_to_the_schemas_too(daemon: Daemon) -> None:
    daemon.fallback, daemon.confidence = "worker starting", "insufficient"
    for name, command in (("oracle", ("oracle",)), ("forecast", ("forecast", "h1")), ("hosts", ("hosts",))):
        schema(name).validate(strict((await ask(daemon, *command, "--json")).out))


async def test_a_backtest_keeps_to_its_schema(tmp_path: Path) -> None:
    values = np.random.default_rng(3).uniform(1, 9, (2, 1, 60))
    np.savez(tmp_path / "load.npz", values=values, step_s=300, metrics=np.array(["cpu"]))
    options = ("--model", "persistence", "--policy", "horizon=30m", "--json")
    ran = await run("backtest", str(tmp_path / "load.npz"), *options)
    assert ran.code == 0, ran.err
    schema("backtest").validate(strict(ran.out))


def test_a_fleet_file_as_it_is_written_keeps_to_its_schema() -> None:
    import tomli

    text = '[fleet]\nname = "f"\n[oracle]\nseason = "1d"\n[hosts.h1]\naddress = "a"\n'
    for one in (text, dump_fleet(parse_fleet(text, "f.toml"))):
        schema("fleet").validate(tomli.loads(one))


def test_no_published_schema_is_left_out_here() -> None:
    assert set(PUBLISHED) == {name for name, _, _ in COMMANDS} | {"backtest", "fleet", "policy"}


@pytest.mark.parametrize("name", list(published.schemas()))
async def test_the_published_schemas_are_those_of_the_code(socket: Path, name: str) -> None:
    hint = "python -m sidestep.console.headless.published writes them"
    assert PUBLISHED[name].read_text(encoding="utf-8") == published.page(name), hint
    command = {"plan": ("plan", "new"), "plan-diff": ("plan", "diff")}.get(name, (name,))
    assert json.loads((await run(*command, "--schema")).out) == published.schemas()[name]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("hosts", lambda rows: rows[0].pop("round_trip")),
        ("hosts", lambda rows: rows[0]["cpu"].update(now="much")),
        ("oracle", lambda answer: answer.update(models=None)),
        ("forecast", lambda report: report.update(values=[["low"]])),
        ("accuracy", lambda listed: listed["rows"][0].pop("horizon")),
    ],
)
async def test_a_schema_refuses_what_is_not_so(daemon: Daemon, name: str, spoil: Callable[[Any], object]) -> None:
    command = {"accuracy": ("forecast", "score"), "forecast": ("forecast", "h2")}.get(name, (name,))
    found = strict((await ask(daemon, *command, "--json")).out)
    spoil(found)
    with pytest.raises(ValidationError):
        schema(name).validate(found)
