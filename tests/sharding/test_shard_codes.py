"""Reason codes are public: each stands in docs/sharding.md, and nothing there is made up."""

from __future__ import annotations

import re
from pathlib import Path

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
