"""The published schema and the reference page say what the fields say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli

from sidestep.fleet import manual, schema
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.config_docs import DOCS, SECTIONS
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "fleet-file.md").read_text(encoding="utf-8")
FILE = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1].partition("\n\n")[2]  # type: ignore[index]


def accepts(rule: dict[str, Any], value: Any) -> bool:
    """Whether a value fulfils the words of JSON Schema that ours uses; an unknown word is an error."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": int | float}
    for word, said in rule.items():
        match word:
            case "description" | "title" | "$schema":
                good = True
            case "type":
                good = isinstance(value, kinds[said]) and (said == "boolean" or not isinstance(value, bool))
            case "enum":
                good = value in said
            case "anyOf":
                good = any(accepts(one, value) for one in said)
            case "pattern":
                good = not isinstance(value, str) or re.search(said, value) is not None
            case "minimum" | "maximum" | "exclusiveMinimum":
                compare = {"minimum": value.__ge__, "maximum": value.__le__, "exclusiveMinimum": value.__gt__}[word]
                good = compare(said) is True or compare(said) is NotImplemented
            case "minItems" | "maxItems" | "maxLength" | "maxProperties":
                good = len(value) >= said if word == "minItems" else len(value) <= said
            case "uniqueItems":
                good = not said or len({json.dumps(item) for item in value}) == len(value)
            case "items":
                good = all(accepts(said, item) for item in value)
            case "propertyNames":
                good = all(accepts(said, key) for key in value)
            case "properties":
                good = all(accepts(said[key], item) for key, item in value.items() if key in said)
            case "additionalProperties":
                rest = [item for key, item in value.items() if key not in rule.get("properties", {})]
                good = not rest if said is False else all(accepts(said, item) for item in rest)
            case _:
                raise AssertionError(f"{word} is not understood here")
        if not good:
            return False
    return True


def test_the_published_schema_and_page_are_those_of_the_fields() -> None:
    hint = "run: python -m scripts.fleet_file"
    assert (ROOT / "fleet" / "fleet.schema.json").read_text(encoding="utf-8") == schema.page(), hint
    assert PAGE.endswith(manual.reference()), hint
    json.loads(schema.page())


def test_every_key_is_described_and_no_other() -> None:
    assert {kind: list(keys) for kind, keys in DOCS.items()} == {kind: list(keys) for kind, keys in FIELDS.items()}
    named = {"host", "group", "shard", "candidate"}
    assert {f"{k}s" if k in named else k for k in FIELDS} | {"include", "defaults"} == set(SECTIONS)


def test_the_example_of_the_page_is_a_fleet_and_fulfils_the_schema() -> None:
    spec = parse_fleet(FILE, "page.toml")
    assert len(spec.hosts) == 42
    assert spec.host("web07").port == 2222
    assert spec.host("web07").labels == (("rack", "r1"),)
    assert spec.host("db-b").jump == "ops@bastion.example.net"
    assert accepts(schema.schema(), tomli.loads(FILE))
    assert accepts(schema.schema(), tomli.loads(dump_fleet(spec)))


@pytest.mark.parametrize(
    "text",
    [
        "[hosts.a]\naddress = 7\n",
        '[hosts.a]\naddress = "-a"\n',
        '[hosts.a]\naddress = "a"\nport = 0\n',
        '[hosts.a]\naddress = "a"\ncpu = 0\n',
        '[hosts.a]\naddress = "a"\nmemory = "7 potatoes"\n',
        '[hosts.a]\naddress = "a"\nreserve_cpu = "ten%"\n',
        '[hosts.a]\naddress = "a"\nsampler = "ruby"\n',
        '[hosts.a]\naddress = "a"\ncordoned = 1\n',
        '[hosts.a]\naddress = "a"\nlabels = {"a b" = "c"}\n',
        '[hosts.a]\naddress = "a"\nlabels = {a = 1}\n',
        '[hosts.a]\naddress = "a"\nprot = 7\n',
        '[hosts.a]\naddress = "a"\ndisk = "much"\n',
        '[shards.a]\nspread = "continent"\n',
        "[shards.a]\nrequires = { tier = 7 }\n",
        "[policy]\naggressiveness = 6\n",
        '[policy]\nkinds = ["teleport"]\n',
        '[policy]\nkinds = ["migrate", "migrate"]\n',
        "[policy]\ngoals = []\n",
        '[policy]\ngoals = ["a b"]\n',
        "[policy]\nsplit_windows = [1, 2, 3]\n",
        '[hosts."a/b"]\naddress = "a"\n',
        '[ssh]\npassphrase = "hunter2"\n',
        '[ssh]\npassword = "hunter2"\n',
        '[groups.a]\naddress = "a"\n',
        '[oracle]\nstep = "15 parsecs"\n',
        "[polices]\n",
        'include = "a"\n',
    ],
)
def test_what_the_schema_can_see_it_refuses_as_we_do(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fleet(text, "f.toml")
    assert not accepts(schema.schema(), tomli.loads(text))
