"""The reference page of the command line: ``python -m sidestep.console.manual > docs/cli.md``.

Made from the commands themselves and from the registry of keys, so that it cannot differ. With ``ids`` as an argument
it prints the table of ids in docs/console.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from sidestep.console import commands
from sidestep.console.commandline import app

_INTRO = """\
# The command line

<!-- Made by: python -m sidestep.console.manual > docs/cli.md -->

`sidestep` without a command opens the console. It attaches to the daemon of the fleet; if none runs it starts one
of its own in automation level *advise*, says so on its first screen, and ends it when it is left.
`sidestep demo` needs no configuration at all.

The daemon is found by `--socket PATH` (or `SIDESTEP_SOCKET`), by `--fleet FILE`, by the fleet file in the configuration
folder, or because it is the only one that runs. `sidestep locate` prints these places.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | refused or failed: no daemon, a stale plan, a lost connection |
| 2 | bad input: an unknown command, option, plan, host or file; nothing was changed |
| 3 | an answer that is no: no plan, no host with room, a host that cannot be emptied; the reasons are printed |

Errors are one message on standard error that says what to do. Lists take `--json`: ASCII only, and unknown numbers
are `null`.

## Approving without a screen

`sidestep plan approve 12 --digest ef43da4c82f3 --yes` approves plan 12 only if it is the plan that you looked at; what
runs is that digest or nothing. Without `--yes` it prints what will run and has the plan's number typed.

## Shell completion

`sidestep --install-completion bash` (or `zsh`, `fish`) installs it; `--show-completion` prints it.

## Colours and characters

`--theme dusk|day|contrast`, or a file of your own in the themes folder. `NO_COLOR=1`, terminals of 16 colours and
`--ascii` draw what lies above a threshold with other characters as well, so that nothing is told by colour alone.
"""


def _usage(name: str, command: Any) -> str:
    arguments = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(p.param_type_name == "option" for p in command.params) else []
    return " ".join(["sidestep", *([name] if name else []), *options, *arguments])


def _options(command: Any) -> Iterator[str]:
    shown = [p for p in command.params if p.param_type_name == "option" and p.help and "completion" not in p.name]
    if not shown:
        return
    yield "| option | meaning |"
    yield "|---|---|"
    for option in shown:
        value = "" if option.is_flag else f" {option.metavar or 'N'}"
        default = "" if option.is_flag or option.default in {None, ""} else f" Default: `{option.default}`."
        variable = f" Or `{option.envvar}`." if option.envvar else ""
        yield f"| `{option.opts[0]}{value}` | {option.help}{default}{variable} |"
    yield ""


def _command(name: str, command: Any) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if not (children and name):
        yield f"### {_usage(name, command)}{'' if name else ' [COMMAND]'}"
        yield ""
        yield command.help or ""
        yield ""
        yield from _options(command)
    for child_name, child in sorted(children.items()):
        if not child.hidden:
            yield from _command(f"{name} {child_name}".strip(), child)


def page() -> str:
    """The whole page."""
    body = "\n".join(_command("", typer.main.get_command(app)))
    keys = (
        "## Keys of the console\n\nKeys that change the fleet exist on the Plans screen only.\n\n" + commands.manual()
    )
    return f"{_INTRO}\n## Commands\n\n{body.rstrip()}\n\n{keys}"


if __name__ == "__main__":
    print(commands.ids() if sys.argv[1:] == ["ids"] else page(), end="")
