"""Commands of plugins, typed after ``sidestep`` like ours: listed without importing any, loaded when they are typed."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.extensions import COMMANDS, PluginError, available, load


class PluggedGroup(TyperGroup):
    """The program's commands, then those of plugins; a name of ours is ours.

    An entry point of ``sidestep.commands`` leads to a ``typer.Typer``: one command, or a group of them.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Ours in their order, then everybody's by name."""
        own = super().list_commands(ctx)
        return [*own, *(str(each.name) for each in available(COMMANDS) if each.name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of ours, or what stands for a plugin's in the help."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        found = next((each for each in available(COMMANDS) if each.name == cmd_name), None)
        return None if found is None else TyperCommand(cmd_name, help=f"Of {found.distribution}.")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command to run; of a plugin the real one. Raises PluginError."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None and name not in self.commands:
            command = _real(name)
        return name, command, rest


def _real(name: str) -> Any:
    made = load(COMMANDS, name)
    if not isinstance(made, typer.Typer):
        raise PluginError(
            f"command {name} is none: {type(made).__name__} is no typer.Typer", hint="see docs/plugins.md"
        )
    try:
        command = typer.main.get_command(made)
    except Exception as error:
        raise PluginError(
            f"command {name} cannot be made: {type(error).__name__}: {error}", hint="update or remove its package"
        ) from error
    command.name = name
    run = command.invoke

    def guarded(context: Any) -> Any:
        try:
            return run(context)
        except (SidestepError, typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            if type(error).__module__.partition(".")[0] in {"typer", "click"}:
                raise  # a mistake of whoever typed it, which the program tells as it tells its own
            raise PluginError(
                f"command {name} failed: {type(error).__name__}: {error}", hint="it is a plugin's: tell its authors"
            ) from error

    command.invoke = guarded  # type: ignore[method-assign, assignment]
    return command
