"""``python -m sidestep.plugins list|info|new``: what is installed, and the beginning of a package of one's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sidestep.fleet.errors import SidestepError
from sidestep.plugins import catalogue, scaffold


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; exit code 0, 1 when a plugin cannot be loaded, 2 for what cannot be used."""
    parser = argparse.ArgumentParser("sidestep plugin")
    verbs = parser.add_subparsers(dest="verb", required=True)
    listed = verbs.add_parser("list", help="every plugin of every group, without loading any")
    listed.add_argument("--json", action="store_true")
    told = verbs.add_parser("info", help="load a plugin and tell what it is")
    told.add_argument("name")
    told.add_argument("--json", action="store_true")
    new = verbs.add_parser("new", help="write a package with a backend or an action that passes the kit")
    new.add_argument("name")
    new.add_argument("--kind", choices=scaffold.KINDS, default="backend")
    new.add_argument("--into", type=Path, default=Path())
    given = parser.parse_args(arguments)
    try:
        return _do(given)
    except SidestepError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return error.exit_code


def _do(given: argparse.Namespace) -> int:
    if given.verb == "new":
        for path in scaffold.write(given.name, given.into, given.kind):
            print(f"wrote {path}")
        return 0
    rows = catalogue.everything() if given.verb == "list" else catalogue.about(given.name)
    if given.json:
        print(msgspec.json.encode(rows).decode())
    else:
        print("\n".join(catalogue.text(rows)))
    return 1 if any(row.problem for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
