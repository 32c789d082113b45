"""Every command of the console, once: keys, footer, ``?``, ``:`` and the manual come from here.

A command that ``mutates`` exists on the Plans screen only, so that no key of a screen for
looking can change the fleet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

Scope = Literal["any", "list", "panel", "fleet", "plans", "log"]
Takes = Literal["", "theme", "host"]
SCREENS: Final[tuple[Scope, ...]] = ("fleet", "plans", "log")


class Command(Struct, frozen=True, kw_only=True):
    """One thing that an operator can do. ``word`` is what ``:`` calls it; "" is not on it."""

    id: str
    #: Textual's key names, the first is the one that is shown
    keys: tuple[str, ...] = ()
    title: str
    help: str
    scope: Scope = "any"
    word: str = ""
    takes: Takes = ""
    mutates: bool = False
    #: shown in the footer
    footer: bool = False


COMMANDS: Final = (
    Command(id="fleet", keys=("1",), title="Fleet", help="hosts, risk and forecast", word="fleet", footer=True),
    Command(id="plans", keys=("2",), title="Plans", help="proposed, running and done", word="plans", footer=True),
    Command(id="log", keys=("3",), title="Log", help="what happened and why", word="log", footer=True),
    Command(
        id="approve",
        keys=("a",),
        title="Approve",
        help="run exactly the plan shown; asks first",
        scope="plans",
        mutates=True,
        footer=True,
    ),
    Command(
        id="reject",
        keys=("x",),
        title="Reject",
        help="refuse the plan shown, with a reason",
        scope="plans",
        mutates=True,
        footer=True,
    ),
    Command(
        id="open",
        keys=("enter",),
        title="Open host",
        help="forecast of the selected host over the whole screen",
        scope="fleet",
    ),
    Command(id="dimension", keys=("m",), title="cpu/memory", help="which forecast is drawn", scope="fleet"),
    Command(id="filter", keys=("slash",), title="Filter", help="rows that contain a text; !text for the others"),
    Command(id="command", keys=("colon",), title="Cmd", help="command line with completion", footer=True),
    Command(id="freeze", keys=("f",), title="Freeze", help="keep the picture still", word="freeze", footer=True),
    Command(id="help", keys=("question_mark",), title="Help", help="keys of this screen", word="help", footer=True),
    Command(id="back", keys=("escape",), title="Back", help="leave what is open, drop the filter, go to Fleet"),
    Command(id="next", keys=("tab",), title="Next pane", help="move the focus"),
    Command(id="theme", title="Theme", help="change the colours", word="theme", takes="theme"),
    Command(id="host", title="Host", help="go to a host", word="host", takes="host"),
    Command(
        id="quit",
        keys=("q",),
        title="Quit",
        help="leave; a daemon that the console started ends, others go on",
        word="quit",
        footer=True,
    ),
    Command(id="down", keys=("j", "down"), title="Down", help="next row", scope="list"),
    Command(id="up", keys=("k", "up"), title="Up", help="row before", scope="list"),
    Command(id="first", keys=("g", "home"), title="First", help="first row", scope="list"),
    Command(id="last", keys=("G", "end"), title="Last", help="last row", scope="list"),
    Command(id="half_down", keys=("ctrl+d", "pagedown"), title="Half down", help="half a page down", scope="list"),
    Command(id="half_up", keys=("ctrl+u", "pageup"), title="Half up", help="half a page up", scope="list"),
    Command(id="confirm", keys=("enter",), title="Confirm", help="do what the dialog says", scope="panel"),
    Command(id="cancel", keys=("escape",), title="Cancel", help="leave the dialog", scope="panel"),
)

BY_ID: Final = {command.id: command for command in COMMANDS}
_SHOWN: Final = {
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "escape": "esc",
    "ctrl+d": "ctrl-d",
    "ctrl+u": "ctrl-u",
    "pagedown": "page down",
    "pageup": "page up",
}


def on_screen(screen: Scope) -> Iterator[Command]:
    """The commands whose keys work on that screen, its own first."""
    yield from (c for c in COMMANDS if c.scope == screen)
    yield from (c for c in COMMANDS if c.scope in {"any", "list"})


def show_key(key: str) -> str:
    """A key as people write it: ``slash`` is ``/``."""
    return _SHOWN.get(key, key)


def words() -> tuple[str, ...]:
    """What can be typed after ``:``, sorted."""
    return tuple(sorted(command.word for command in COMMANDS if command.word))


def parse(text: str) -> tuple[Command, str] | str:
    """The command and its argument of a typed line, or what is wrong with it."""
    word, _, argument = text.strip().partition(" ")
    argument = argument.strip()
    found = [c for c in COMMANDS if c.word == word] or [c for c in COMMANDS if word and c.word.startswith(word)]
    if len(found) != 1:
        return f"{word or 'that'} is no command; there are: {', '.join(words())}"
    command = found[0]
    if command.takes and not argument:
        return f":{command.word} needs a {command.takes}"
    if argument and not command.takes:
        return f":{command.word} takes nothing after it"
    return command, argument


def completions(text: str, choices: dict[Takes, tuple[str, ...]]) -> tuple[str, ...]:
    """Whole lines that the typed one could become."""
    word, space, argument = text.partition(" ")
    if not space:
        return tuple(w for w in words() if w.startswith(word))
    takes: Takes = next((c.takes for c in COMMANDS if c.word == word), "")
    return tuple(f"{word} {c}" for c in choices.get(takes, ()) if takes and c.startswith(argument))


def manual() -> str:
    """The table of keys for docs/cli.md."""
    rows = ["| key | where | what it does |", "|---|---|---|"]
    place = {"any": "everywhere", "list": "lists", "panel": "dialogs"}
    for command in COMMANDS:
        keys = ", ".join(f"`{show_key(key)}`" for key in command.keys)
        if command.word:
            typed = f":{command.word}" + (f" {command.takes.upper()}" if command.takes else "")
            keys = f"{keys}, `{typed}`" if keys else f"`{typed}`"
        rows.append(f"| {keys} | {place.get(command.scope, command.scope)} | {command.help} |")
    return "\n".join(rows) + "\n"
