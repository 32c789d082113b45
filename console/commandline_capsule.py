"""``sidestep capsule``: what one capsule's file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

capsule = typer.Typer(rich_markup_mode=None, help="One capsule's file (docs/capsules.md).", no_args_is_help=True)


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.add_typer(capsule, name="capsule")


@capsule.callback()
def main() -> None:
    """One capsule's file."""


@capsule.command("show")
def show(
    which: Annotated[str, typer.Argument(metavar="ID|FILE", help="A file, or the beginning of an id.")],
    within: Annotated[
        Path | None, typer.Option("--in", metavar="DIR", help="Where ids are looked for; else the state of sidestep.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a capsule's header: of what, by whom, how old, how large. The state itself is not read."""
    from sidestep.console.headless import capsule as printed  # noqa: PLC0415

    printed.show(which, within, as_json=as_json)
