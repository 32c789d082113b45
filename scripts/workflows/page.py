"""What the run says of each workflow, and the part of docs/workflows.md that is made from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sidestep.fleet.resources import show_seconds

_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_BEGIN: Final = "<!-- measured: python -m scripts.workflows --docs -->"
_END: Final = "<!-- measured: end -->"
#: pictures of the page: what was kept in a walk, and what it is called in docs/pictures
PICTURES: Final = {
    "1-glance": "workflow-glance", "2-approve": "workflow-approve", "2-after": "workflow-approved",
    "3-order": "workflow-drain", "3-after": "workflow-drained", "4-level": "workflow-level", "4-hold": "workflow-hold",
    "5-down": "workflow-lost", "5-after": "workflow-failover", "5-return": "workflow-return",
    "6-shard": "workflow-hot-shard", "6-after": "workflow-split", "7-what-if": "workflow-peak",
    "7-pool": "workflow-drill", "8-log": "workflow-log", "8-otherwise": "workflow-replay",
}  # fmt: skip


class Walked(NamedTuple):
    """One workflow as it was walked; ``failure`` is "" where it came to its end."""

    number: int
    name: str
    title: str
    keys: int
    words: int
    seconds: float
    failure: str

    def line(self) -> str:
        """For people, on one line, and below it what failed."""
        how = f"FAILED: {self.failure.splitlines()[0]}" if self.failure else "passed"
        counts = f"{self.keys:>3} keys {self.words:>3} words {self.seconds:>6.0f} s"
        return f"{self.number}. {self.title:<32} {counts}  {how}"


def table(results: Sequence[Walked]) -> str:
    """The table of the page, by number."""
    rows = ["| | workflow | keys | words typed | took |", "|---|---|---|---|---|"]
    for each in sorted(results):
        anchor = re.sub(r"[^a-z0-9 -]", "", each.title.lower()).replace(" ", "-")
        link = f"[{each.title}](#{each.number}-{anchor})"
        rows.append(f"| {each.number} | {link} | {each.keys} | {each.words} | {show_seconds(each.seconds)} |")
    return "\n".join(rows)


def write(results: Sequence[Walked], out: Path) -> None:
    """Put the table into the page, and the pictures beside it."""
    path = _DOCS / "workflows.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    path.write_text(f"{before}{_BEGIN}\n\n{table(results)}\n\n{_END}{after}", encoding="utf-8")
    for kept, name in PICTURES.items():
        if (found := out / f"{kept}.svg").is_file():
            (_DOCS / "pictures" / f"{name}.svg").write_text(found.read_text(encoding="utf-8"), encoding="utf-8")
