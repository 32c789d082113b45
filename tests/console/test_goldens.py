"""Every screen as text, at three sizes, with colour and without.

``REGENERATE_GOLDENS=1 python -m pytest tests/console/test_goldens.py`` writes them anew; look at the
difference before it is kept. Without colour only the lines that differ are written down.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from conftest import Console, console_on
from frames import Daemon, lively

GOLDEN = Path(__file__).with_name("golden")
SIZES = ((80, 24), (120, 40), (200, 60))
#: the keys, or the command, that lead to each screen or dialog from the one before
WAYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fleet", ("1",)),
    ("fleet-map", ("v",)),
    ("shards", ("v", "2")),
    ("shards-map", ("v",)),
    ("forecast", ("v", "3")),
    ("plans", ("4",)),
    ("approve", ("a",)),
    ("plan", ("escape", "enter")),
    ("log", ("5",)),
    ("help", ("question_mark",)),
    ("host", ("escape", "1", "enter")),
    ("shard", ("enter",)),
    ("app", (":app shop",)),
    ("trust", ("t",)),
    ("functions", ("b",)),
    ("pools", ("o",)),
    ("drill", ("d", "enter")),
    (
        "what-if",
        (
            "escape",
            ":what-if drain=h2 load=+30%",
        ),
    ),
    ("ahead", ("1", *["right_square_bracket"] * 8, "w")),
)
#: what differs from one run to the next
#: what a screen says while the daemon thinks
_ASKING = ("asking", "looking for", "queued", "of the question before")
_MOVING = re.compile(r"\b\d{3,4}d\b")


async def walk(socket: Path, size: tuple[int, int], *, patterns: bool) -> dict[str, list[str]]:
    """The text of every screen."""
    found: dict[str, list[str]] = {}
    async with Daemon(socket, lively()) as daemon:
        daemon.time += 45
        async with console_on(socket, size, patterns=patterns) as console:
            await console.sees("trust advise" if size[0] > 80 else "ADVISE")
            for name, keys in WAYS:
                for key in keys:
                    if key.startswith(":"):
                        console.app.run_line(key[1:])
                    else:
                        await console.press(key)
                found[name] = await settled(console)
    return found


async def settled(console: Console) -> list[str]:
    """The lines once they no longer change: answers of the daemon have come."""
    before: list[str] = []
    for _ in range(40):
        await console.press()
        lines = [_MOVING.sub("----d", line.rstrip()) for line in console.lines()]
        asking = any(line.strip("│ ") == "nothing yet" or any(word in line for word in _ASKING) for line in lines)
        if lines == before and not asking:
            return lines
        before = lines
    pytest.fail("the screen does not settle:\n" + "\n".join(before))


def written(colour: list[str], without: list[str]) -> str:
    """A golden file: the lines, then those that differ without colour."""
    changed = [f"{at:>3} {line}" for at, line in enumerate(without) if line != colour[at]]
    return "\n".join([*colour, "", f"without colour: {len(changed)} lines differ", *changed]) + "\n"


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40", "200x60"])
async def test_every_screen_is_as_it_was(socket: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    colour = await walk(socket, size, patterns=False)
    monkeypatch.setenv("NO_COLOR", "1")
    without = await walk(socket, size, patterns=True)
    monkeypatch.undo()
    time.tzset()
    wrong = []
    for name, lines in colour.items():
        assert len(lines) == size[1] and all(line.isprintable() for line in lines)
        path, text = GOLDEN / f"{name}-{size[0]}x{size[1]}.txt", written(lines, without[name])
        if "REGENERATE_GOLDENS" in os.environ:
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            wrong.append(f"{path.name} differs; it is now:\n{text}")
    assert not wrong, "\n".join(wrong)
