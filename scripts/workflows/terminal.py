"""A program in tmux: keys go in and are counted, and what is on screen comes out, as text and as a picture."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from sidestep.fleet.errors import SidestepError

SIZE: Final = (120, 40)
#: seconds that something on screen may take; the embedded fleet is slow on a busy machine
PATIENCE: Final = 300.0
#: seconds between looks at the screen, and after a key
_LOOK, _AFTER = 0.3, 0.25
_TERMINALS = itertools.count(1)
#: what a terminal shows where no colour was asked for; every cell of the console asks for one
_THEME: Final = TerminalTheme(
    (17, 21, 28), (200, 205, 212), [(0, 0, 0)] * 8, [(255, 255, 255)] * 8
)  # fmt: skip


class NotSeen(SidestepError):
    """Something did not come on screen; ``screen`` is what was there instead."""

    def __init__(self, wanted: str, seconds: float, screen: str) -> None:
        super().__init__(f"not on screen after {seconds:.0f} s: {wanted}")
        self.screen = screen
        self.add_note(f"on screen was:\n{screen}")


class Terminal:
    """One program. ``keys`` were pressed and ``words`` typed so far; what happens ``aside`` does not count."""

    def __init__(self, folder: Path, out: Path, command: list[str], size: tuple[int, int] = SIZE) -> None:
        self._tmux = ["tmux", "-S", str(folder / f"tmux-{next(_TERMINALS)}.sock"), "-f", "/dev/null"]
        self._out, self._size = out, size
        self.keys = self.words = 0
        wide, high = (str(n) for n in size)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):  # the last two would be taken for the terminal's size
            environment.pop(name, None)
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-s", "walk", "-x", wide, "-y", high, *command],
            check=True, env=environment,
        )  # fmt: skip
        self._run("set", "-g", "status", "off")
        self._run("resize-window", "-t", "walk", "-x", wide, "-y", high)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            raise SidestepError(f"tmux {arguments[0]}: {done.stderr.strip() or 'failed'}; has the console ended?")
        return done.stdout

    def close(self) -> None:
        """End the program."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def screen(self) -> str:
        """What is on screen."""
        return self._run("capture-pane", "-t", "walk", "-p").rstrip()

    def picture(self) -> str:
        """What is on screen, as SVG."""
        width, height = self._size
        console = Console(
            width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
        )
        shown = self._run("capture-pane", "-t", "walk", "-p", "-e", "-N").rstrip("\n")
        console.print(Text.from_ansi(shown, no_wrap=True, end=""), soft_wrap=True, highlight=False)
        return console.export_svg(title="sidestep", theme=_THEME)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keys and words of what is no part of the workflow: making ready, and cleaning up."""
        before = self.keys, self.words
        yield
        self.keys, self.words = before

    async def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            self._run("send-keys", "-t", "walk", key)
            self.keys += 1
            await asyncio.sleep(_AFTER)

    async def say(self, text: str) -> None:
        """Type words into a line that is open; they count as words, not as keys."""
        if text:
            self._run("send-keys", "-t", "walk", "-l", text)
            self.words += len(text.split())
            await asyncio.sleep(_AFTER)

    async def command(self, text: str) -> None:
        """Type a command after a colon; the colon and enter are keys."""
        await self.press(":")
        await self.sees(r"(?m)^ :\s*$")
        await self.say(text)
        await self.sees(rf"(?m)^ : *{re.escape(text)}")
        await self.press("Enter")

    async def sees(self, *patterns: str, patience: float = PATIENCE) -> str:
        """Wait until all patterns are on screen, and return it. Raises NotSeen."""
        until = time.monotonic() + patience
        while True:
            screen = self.screen()
            missing = [each for each in patterns if not re.search(each, screen)]
            if not missing:
                return screen
            if time.monotonic() > until:
                raise NotSeen(missing[0], patience, screen)
            await asyncio.sleep(_LOOK)

    def keep(self, name: str) -> None:
        """Write what is on screen to the folder, as text and as a picture."""
        (self._out / f"{name}.txt").write_text(self.screen() + "\n", encoding="utf-8")
        (self._out / f"{name}.svg").write_text(self.picture(), encoding="utf-8")
