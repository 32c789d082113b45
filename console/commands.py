"""Every command of the console, once: keys, footer, ``?``, ``:``, palette and the manual come from here.

A key of a command that ``mutates`` exists where plans are shown only, so that no key of a screen for
looking can change the fleet; the hold is the exception, since it can only stop things. Orders about hosts, levels,
events and fire drills have no key: they are typed, and confirmed. A split or merge is typed, and only proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

Scope = Literal[
    "any", "list", "table", "panel",
    "fleet", "shards", "forecast", "plans", "log",
    "host", "shard", "app", "plan", "trust", "pools", "functions", "whatif", "page",
]  # fmt: skip
Takes = Literal[
    "", "theme", "host", "shard", "app", "plan", "column", "text", "file", "level", "event", "change", "pool", "page",
]  # fmt: skip
SCREENS: Final[tuple[Scope, ...]] = ("fleet", "shards", "forecast", "plans", "log")
PAGES: Final[tuple[Scope, ...]] = ("host", "shard", "app", "plan", "trust", "pools", "functions", "whatif", "page")
#: after which several things may be said
_SEVERAL: Final = frozenset({"host", "change", "level"})
#: what need not be said after a command: a filter, changes, hosts that are marked
_OPTIONAL: Final = frozenset({"text", "change"})
#: where tables are, whose keys sort and mark
TABLES: Final = frozenset({"fleet", "shards", "forecast", "plans", "host", "app", "pools", "functions", "whatif"})
#: where plans are shown: the only places with keys that act on them
PLANS: Final = frozenset({"plans", "plan"})


class Command(Struct, frozen=True, kw_only=True):
    """One thing that an operator can do. ``words`` are what ``:`` calls it, the first is shown; none is not on it."""

    id: str
    #: Textual's key names, the first is the one that is shown
    keys: tuple[str, ...] = ()
    title: str
    help: str
    #: the scopes in which the keys work
    scopes: frozenset[str]
    words: tuple[str, ...] = ()
    takes: Takes = ""
    mutates: bool = False
    #: shown in the footer
    footer: bool = False

    @property
    def scope(self) -> str:
        """The one scope, or the widest of several, for the manual."""
        return next(iter(self.scopes)) if len(self.scopes) == 1 else " and ".join(sorted(self.scopes))

    @property
    def word(self) -> str:
        """What ``:`` calls it, or ""."""
        return self.words[0] if self.words else ""


def _c(
    scope: str, id: str, keys: str, title: str, help: str, *, word: str = "", takes: Takes = "", footer: bool = False,
    acts: bool = False,
) -> Command:  # fmt: skip
    """A row of the registry; scopes, keys and words with blanks between them."""
    return Command(
        id=id, keys=tuple(keys.split()), title=title, help=help, scopes=frozenset(scope.split()),
        words=tuple(word.split()), takes=takes, footer=footer, mutates=acts,
    )  # fmt: skip


_ACT: Final = "plans plan"
COMMANDS: Final = (
    _c("any", "fleet", "1", "Fleet", "hosts by time to contention", word="fleet hosts", footer=True),
    _c("any", "shards", "2", "Shards", "every shard; the placement map", word="shards", footer=True),
    _c("any", "forecast", "3", "Forecast", "charts, and how right they were", word="forecast", footer=True),
    _c("any", "plans", "4", "Plans", "proposed, running and done; what acts is here", word="plans", footer=True),
    _c("any", "log", "5", "Log", "what happened and why", word="log", footer=True),
    # -- plans: what acts
    _c(_ACT, "approve", "a", "Approve", "run exactly the plan shown; asks first", footer=True, acts=True),
    _c(_ACT, "reject", "x", "Reject", "refuse the plan shown, with a reason", footer=True, acts=True),
    _c(_ACT, "pause", "p", "Pause", "begin nothing more of the running plan", acts=True),
    _c(_ACT, "resume", "r", "Resume", "go on with the paused plan", acts=True),
    _c(_ACT, "cancel_plan", "c", "Cancel", "end the plan; shows first what that does", footer=True, acts=True),
    _c(_ACT, "undo", "u", "Undo", "propose the way back of a plan that ran", acts=True),
    _c("plan", "skip", "space", "Skip", "leave the action under the cursor out", footer=True),
    # -- opening and looking
    _c(
        "fleet shards forecast plans host app plan whatif",
        "open",
        "enter",
        "Open",
        "the page of the row under the cursor",
    ),
    _c("fleet forecast host whatif", "dimension", "m", "cpu/memory", "which forecast is drawn"),
    _c("fleet shards", "view", "v", "Map", "the same as a map: heat of all hosts, shards on hosts", footer=True),
    _c("shards", "left", "h left", "Left", "the shard before, on the placement map"),
    _c("shards", "right", "l right", "Right", "the next shard, on the placement map"),
    _c("log", "follow", "F", "Follow", "stay at the newest row", word="follow", footer=True),
    # -- what if: on paper only
    _c(
        "fleet forecast host",
        "what_if",
        "i",
        "What if",
        "hosts drained, lost or added, more load: what would happen",
        word="what-if",
        takes="change",
        footer=True,
    ),
    _c("whatif", "try_drain", "d", "Drain", "drain the marked hosts, or this one, on paper", footer=True),
    _c("whatif", "try_lose", "l", "Lose", "lose them, on paper", footer=True),
    _c("whatif", "try_zone", "z", "Lose zone", "lose their zone, on paper", footer=True),
    _c("whatif", "try_load", "plus", "+30 % load", "more load everywhere, on paper; again for more", footer=True),
    _c("whatif", "try_host", "n", "Add host", "one more host like this one, on paper", footer=True),
    _c("whatif", "try_less", "backspace", "Take back", "take the last change back"),
    _c("whatif", "try_again", "e", "Again", "ask again, of the fleet as it is now"),
    _c("pools", "type_drill", "d", "Fire drill", "type :drill for the pool under the cursor", footer=True),
    # -- tables
    _c("table", "sort_left", "less_than_sign", "Sort left", "sort by the column before"),
    _c("table", "sort_right", "greater_than_sign", "Sort right", "sort by the next column"),
    _c("fleet shards forecast host app pools functions whatif", "reverse", "r", "Reverse", "turn the order round"),
    _c(
        "fleet shards forecast host app pools functions whatif",
        "mark",
        "space",
        "Mark",
        "mark the row; /mark=1 shows marked rows",
    ),
    # -- everywhere
    _c(
        "any",
        "hold",
        "H",
        "HOLD",
        "begin nothing new, at once; again to release",
        word="hold release",
        footer=True,
        acts=True,
    ),
    _c("any", "filter", "slash", "Filter", "regex, !inverse, ~fuzzy, risk>0.6; several must all hold"),
    _c("any", "command", "colon", "Cmd", "command line with completion and history", footer=True),
    _c("any", "palette", "ctrl+p", "Palette", "find a command"),
    _c("any", "freeze", "f", "Freeze", "keep the picture still", word="freeze", footer=True),
    _c("any", "later", "right_square_bracket", "Later", "move now into the forecast", word="later"),
    _c("any", "earlier", "left_square_bracket", "Earlier", "move back towards the present", word="earlier"),
    _c("any", "present", "0", "Now", "back to the present", word="now"),
    _c("any", "with_plan", "w", "With plan", "the forecast with, and without, the selected plan", word="with"),
    _c("any", "help", "question_mark", "Help", "keys of this screen", word="help", footer=True),
    _c("any", "back", "escape", "Back", "leave what is open, drop the filter, go back"),
    _c("any", "last", "minus", "Last view", "to where you were before"),
    _c("any", "next", "tab", "Next pane", "move the focus"),
    _c("any", "theme", "", "Theme", "change the colours", word="theme", takes="theme"),
    # -- orders: typed, shown, and confirmed
    _c("any", "cordon", "", "Cordon", "no new shards for hosts; asks first", word="cordon", takes="host", acts=True),
    _c(
        "any",
        "uncordon",
        "",
        "Uncordon",
        "shards for hosts again; asks first",
        word="uncordon",
        takes="host",
        acts=True,
    ),
    _c("any", "drain", "", "Drain", "empty hosts; shows what cannot move, asks", word="drain", takes="host", acts=True),
    _c(
        "any",
        "set_level",
        "",
        "Level",
        "how far the autopilot may go, of all or of an app; asks first",
        word="level",
        takes="level",
        acts=True,
    ),
    _c("any", "promote", "", "Promote", "allow the level that trust offers; asks first", word="promote", acts=True),
    _c(
        "any",
        "announce",
        "",
        "Event",
        "an event to come: NAME at TIME lasts TIME effect FACTOR; asks first",
        word="event",
        takes="event",
        acts=True,
    ),
    _c(
        "any",
        "drill",
        "",
        "Fire drill",
        "wake a cold instance; asks first",
        word="drill",
        takes="pool",
        acts=True,
    ),
    _c(
        "any",
        "split",
        "",
        "Split",
        "propose that a spare gets the upper keys of a shard: SHARD to HOST at KEY",
        word="split",
        takes="shard",
        acts=True,
    ),
    _c(
        "any",
        "merge",
        "",
        "Merge",
        "propose that a shard gets the keys of its spare back",
        word="merge",
        takes="shard",
        acts=True,
    ),
    _c("any", "to_host", "", "Host", "the page of a host", word="host", takes="host"),
    _c("any", "to_shard", "", "Shard", "the page of a shard; why it is where it is", word="shard why", takes="shard"),
    _c("any", "to_app", "", "App", "the page of an app", word="app", takes="app"),
    _c("any", "to_plan", "", "Plan", "the page of a plan, by number or digest", word="plan", takes="plan"),
    _c("any", "to_trust", "t", "Trust", "how far the autopilot may go, and why", word="trust autopilot"),
    _c("any", "to_pools", "o", "Pools", "instances that stand ready, and what that rests on", word="pools pool"),
    _c(
        "any",
        "to_functions",
        "b",
        "Functions",
        "calls that run on hosts, and what a loss costs",
        word="functions calls",
    ),
    _c("any", "to_page", "", "Page", "the page of a plugin", word="page", takes="page"),
    _c("any", "sort", "", "Sort", "sort the table by a column", word="sort", takes="column"),
    _c("any", "narrow", "", "Filter", "filter the rows", word="filter", takes="text"),
    _c("any", "export", "ctrl+s", "Export", "the screen as a picture (SVG) in the present folder"),
    _c("any", "write", "", "Write", "export to FILE.svg or .png; a table to .csv or .json", word="write", takes="file"),
    _c("any", "copy", "y", "Copy", "the name under the cursor, or marked names, to the clipboard", word="copy"),
    _c("any", "quit", "q", "Quit", "leave; a daemon that the console started ends", word="quit", footer=True),
    _c("list", "down", "j down", "Down", "next row"),
    _c("list", "up", "k up", "Up", "row before"),
    _c("list", "first", "g home", "First", "first row"),
    _c("list", "end", "G end", "End", "last row"),
    _c("list", "half_down", "ctrl+d pagedown", "Half down", "half a page down"),
    _c("list", "half_up", "ctrl+u pageup", "Half up", "half a page up"),
    _c("panel", "confirm", "enter", "Confirm", "do what the dialog says"),
    _c("panel", "cancel", "escape", "Cancel", "leave the dialog"),
)

BY_ID: Final = {command.id: command for command in COMMANDS}
_SHOWN: Final = {
    "slash": "/", "colon": ":", "question_mark": "?", "escape": "esc", "minus": "-", "less_than_sign": "<",
    "greater_than_sign": ">", "left_square_bracket": "[", "right_square_bracket": "]", "pagedown": "page down",
    "pageup": "page up", "plus": "+",
}  # fmt: skip
_NAMED: Final = {shown: key for key, shown in _SHOWN.items()}


def on_screen(screen: str) -> Iterator[Command]:
    """The commands whose keys work on that screen, its own first."""
    yield from (c for c in COMMANDS if screen in c.scopes)
    wide = {"any", "list", *(("table",) if screen in TABLES else ())}
    yield from (c for c in COMMANDS if c.scopes & wide)


def show_key(key: str) -> str:
    """A key as people write it: ``slash`` is ``/``, ``ctrl+d`` is ``ctrl-d``."""
    return _SHOWN.get(key, key.replace("ctrl+", "ctrl-"))


def named_key(text: str) -> str:
    """A key that people wrote, by the name that Textual has for it."""
    return _NAMED.get(text, text.replace("ctrl-", "ctrl+"))


def words() -> tuple[str, ...]:
    """What can be typed after ``:``, sorted."""
    return tuple(sorted(word for command in COMMANDS for word in command.words))


def parse(text: str) -> tuple[Command, str] | str:
    """The command and its argument of a typed line, or what is wrong with it."""
    word, _, argument = text.strip().partition(" ")
    argument = argument.strip()
    found = [c for c in COMMANDS if word in c.words]
    found = found or [c for c in COMMANDS if word and any(w.startswith(word) for w in c.words)]
    if len(found) != 1:
        return f"{word or 'that'} is no command; there are: {', '.join(words())}"
    command = found[0]
    if command.takes and not argument and command.takes not in _OPTIONAL and not orders(command):
        return f":{command.word} needs a {command.takes}"
    if argument and not command.takes:
        return f":{command.word} takes nothing after it"
    return command, argument


def completions(text: str, choices: Mapping[Takes, tuple[str, ...]]) -> tuple[str, ...]:
    """Whole lines that the typed one could become."""
    word, space, argument = text.partition(" ")
    if not space:
        return tuple(w for w in words() if w.startswith(word))
    takes: Takes = next((c.takes for c in COMMANDS if word in c.words), "")
    first, blank, last = argument.rpartition(" ") if takes in _SEVERAL else ("", "", argument)
    kept = f"{word} {first}{blank}"
    return tuple(f"{kept}{c}" for c in choices.get(takes, ()) if takes and c.startswith(last))


def orders(command: Command) -> bool:
    """Whether it is an order about what is named, else about what is marked or under the cursor."""
    return command.mutates and command.takes in {"host", "shard", "pool"}


def manual() -> str:
    """The table of keys for docs/cli.md."""
    rows = ["| key | where | what it does |", "|---|---|---|"]
    place = {"any": "everywhere", "list": "lists", "table": "tables", "panel": "dialogs"}
    for command in COMMANDS:
        keys = ", ".join(f"`{show_key(key)}`" for key in command.keys)
        typed = [f"`:{word}" + (f" {command.takes.upper()}`" if command.takes else "`") for word in command.words]
        keys = ", ".join([*([keys] if keys else []), *typed])
        rows.append(f"| {keys} | {place.get(command.scope, command.scope)} | {command.help} |")
    return "\n".join(rows) + "\n"


def ids() -> str:
    """The table of ids for docs/console.md: what keys can be given to."""
    rows = ["| id | keys | what it does |", "|---|---|---|"]
    for command in COMMANDS:
        if command.keys and "panel" not in command.scopes:
            keys = " ".join(f"`{show_key(key)}`" for key in command.keys)
            rows.append(f"| `{command.id}` | {keys} | {command.help} |")
    return "\n".join(rows) + "\n"
