"""The page on planning says nothing that cannot be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sidestep.planning
from sidestep.fleet.inventory import Policy
from sidestep.planning.queries.whatif_text import parse

ROOT = Path(sidestep.planning.__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")
TEXTS = sorted(set(re.findall(r"`((?:drain|lose|load|add|policy)=[^`]+)`|--what-if (\S+=\S+)", PAGE)))


@pytest.mark.parametrize("text", [one or other for one, other in TEXTS])
def test_every_what_if_of_the_page_can_be_read(text: str) -> None:
    assert len(parse([text], {"cost-aware": Policy()}).changes) == 1


def test_every_code_of_the_page_is_documented() -> None:
    known = set(
        re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", PAGE)) <= known
