"""Reason codes are public: each stands in docs/sharding.md, and nothing there is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidestep.sharding.analysis.function import analysed
from sidestep.sharding.analysis.source import read
from sidestep.sharding.loops.classify import classify_all

ROOT = Path(__file__).parents[2]


def test_every_code_is_documented_and_no_other() -> None:
    """S1.4: stable codes with line and text."""
    text = "".join(
        p.read_text()
        for folder in ("analysis", "loops", "execute", "score", "universe")
        for p in (ROOT / "sharding" / folder).glob("*.py")
    )
    used = set(re.findall(r'(?:refuse|Refusal)\(\s*"([a-z-]+)"', text)) - {"orders-sets"}
    table = (ROOT / "docs" / "sharding.md").read_text().partition("## Reason codes")[2].partition("## Bounds")[0]
    documented = set(re.findall(r"^\| `([a-z:-]+)` \|", table, re.M))
    assert used <= documented
    assert {code for code in documented - used if f'"{code.partition(":")[2] or code}"' not in text} == set()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def f(xs):\n    global count\n    for x in xs:\n        count = x\n", "global"),
        ("def f(xs):\n    for x in xs:\n        global count\n        count = x\n        break\n", "global"),
        (
            "def f(xs):\n    for x in xs:\n        match x:\n"
            "            case complex(real=1):\n                return x\n"
            "            case {'a': _, **rest}:\n                return rest\n",
            "statement",
        ),
    ],
)
def test_names_that_statements_list_do_not_stop_the_analysis(text: str, code: str) -> None:
    """S1.4: whatever a function holds, its loop gets a verdict."""
    source = read(text)
    (verdict,) = classify_all(analysed(source, source.functions["f"]))
    assert code in {one.code for one in verdict.refusals}
    assert not verdict.accepted
