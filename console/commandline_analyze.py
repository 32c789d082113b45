"""The command about functions and their shards; the analysis itself is a program of its own."""

from __future__ import annotations

import typer

from sidestep.console.become import become


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
        analyze
    )


def analyze(context: typer.Context) -> None:
    """What of FILE.py:FUNCTION can run as shards, and whether it would pay; see sidestep analyze --help."""
    become("sidestep.sharding.commandline", *context.args)
