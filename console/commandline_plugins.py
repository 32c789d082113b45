"""The commands about plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.options import Json

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of its entry point.")]

plugin = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Plugins: backends, constraints, goals and more (docs/plugins.md).",
)


def add(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(plugin, name="plugin")


def _end(module: str, *arguments: str) -> None:
    from sidestep.console.headless import plugins  # noqa: PLC0415

    raise typer.Exit(plugins.run(module, arguments))


@plugin.command("list")
def plugin_list(as_json: Json = False) -> None:
    """Every plugin that is installed, ours and others', without loading any."""
    _end("sidestep.plugins", "list", *(["--json"] if as_json else []))


@plugin.command("info")
def plugin_info(name: Name, as_json: Json = False) -> None:
    """Load a plugin and tell what it is and what it declares; exit code 1 if it cannot be loaded."""
    _end("sidestep.plugins", "info", *(["--json"] if as_json else []), "--", name)


@plugin.command("new")
def plugin_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, underscores.")],
    kind: Annotated[str, typer.Option("--kind", metavar="backend|action", help="What it begins with.")] = "backend",
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the new folder goes.")] = Path(),
) -> None:
    """Write a package with a backend or an action that passes the kit, its test, and what publishing it needs."""
    _end("sidestep.plugins", "new", "--kind", kind, "--into", str(into), "--", name)


@plugin.command("check")
def plugin_check(
    name: Name,
    driver: Annotated[str, typer.Option("--driver", metavar="hook|restart", help="Of the moved shard.")] = "hook",
    only: Annotated[str, typer.Option("--only", metavar="RULE,...", help="These rules; all without.")] = "",
    params: Annotated[str, typer.Option("--params", metavar="JSON", help="Of an action, as in the fleet file.")] = "{}",
    sample: Annotated[int, typer.Option("--sample", metavar="N", help="Steps that a rule tries; all without.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Chooses these steps.")] = 1,
    as_json: Json = False,
) -> None:
    """Try a backend, an action (on hosts of their own) or a constraint by every rule; exit code 1 if one breaks."""
    options = ["--driver", driver, "--only", only, "--params", params, "--sample", str(sample), "--seed", str(seed)]
    _end("sidestep.testing", *options, *(["--json"] if as_json else []), "--", name)
