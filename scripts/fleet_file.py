"""Writes what is made from the fields of the fleet file: the JSON Schemas, and the reference in docs/fleet-file.md."""

from __future__ import annotations

from pathlib import Path

from sidestep.fleet import manual, schema

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "fleet-file.md"
SCHEMA = ROOT / "fleet" / "fleet.schema.json"
POLICY = ROOT / "fleet" / "policy.schema.json"
MARK = "<!-- Below: made by python -m scripts.fleet_file -->\n\n"


def page() -> str:
    """The page with its reference as it must be."""
    prose, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return prose + (mark or MARK) + manual.reference()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema.page(), encoding="utf-8")
    POLICY.write_text(schema.policy_page(), encoding="utf-8")
