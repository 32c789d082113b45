"""The console on a recording: the same screens, a scrubber, keys that move through time, and none that act."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.events import Click

from sidestep.autopilot.protocol import SnapshotFrame
from sidestep.autopilot.protocol_replay import ReplayView, Seek
from sidestep.console.app import ConsoleApp
from sidestep.console.feed import Feed
from sidestep.console.panels.decision import TellPanel, tell_width
from sidestep.console.screens.base import ConsoleScreen
from sidestep.console.screens.help import help_lines
from sidestep.console.sessions import START_DEADLINE, Say, child
from sidestep.console.text import Glyphs, Line, Span, clock, fit, span
from sidestep.console.widgets.lines import LinePane
from sidestep.fleet.errors import SidestepError

#: (id, keys, what it does)
KEYS: Final = (
    ("play", "space", "space", "play, or stop playing"),
    ("back", "left_square_bracket", "[", "one picture back"),
    ("on", "right_square_bracket", "]", "one picture on"),
    ("decision_back", "left_curly_bracket", "{", "to the decision before"),
    ("decision_on", "right_curly_bracket", "}", "to the next decision"),
    ("slower", "comma", ",", "play half as fast"),
    ("faster", "full_stop", ".", "play twice as fast"),
    ("begin", "0", "0", "to the beginning"),
)
WORDS: Final = (
    (":goto HH:MM:SS", "to that time of the recording's last day"),
    (":speed N", "play N recorded seconds a second"),
)
_POLL: Final = 1.0
#: columns of the scrubber beside its bar
_BESIDE: Final = 46


class Replay:
    """The session of a recording: a child serves it on a socket of its own, and ends with the console."""

    note = ""

    def __init__(self, source: Path, arguments: Sequence[str] = ()) -> None:
        self._source, self._arguments = source, list(arguments)
        self._folder: Path | None = None
        self._child: Any = None

    async def open(self, say: Say) -> Path:
        """Start the child and wait until it serves. Raises SidestepError with what it said."""
        self._folder = Path(tempfile.mkdtemp(prefix="sidestep-"))
        command = [sys.executable, "-m", "sidestep.autopilot.recorder", "serve", str(self._source)]
        command += ["--socket", str(self._folder / "replay.sock"), *self._arguments]
        self._child = await child(command)
        async with asyncio.timeout(START_DEADLINE):
            async for message in self._child.messages():
                if message.get("ready"):
                    return Path(str(message["socket"]))
                say(str(message.get("phase", "")))
        raise await self._child.failure("the recording cannot be shown")

    async def close(self) -> None:
        """Close the child's input, wait for it, and remove its folder."""
        if self._child is not None:
            await self._child.stop(first=lambda _: None)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class ReplayFeed(Feed):
    """A feed whose plans are those of the picture, also when time goes back."""

    replay: ReplayView | None = None

    def _take(self, frame: SnapshotFrame) -> None:
        self.plans = ()
        super()._take(frame)

    async def seek(self, request: Seek) -> None:
        """Move, and remember where one is. Raises SidestepError."""
        answer = await self.call(request)
        if isinstance(answer, ReplayView):
            self.replay = answer

    @property
    def told(self) -> str:
        """What the top line says: that this is the past, and which."""
        view, found = self.view, self.replay
        moving = f" x{found.speed:g}" if found is not None and found.playing else ""
        return f"REPLAY {clock(view.time)}{moving}" if view is not None else "REPLAY"


class ReplayApp(ConsoleApp):
    """The application on a recording."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"app.seek('{id}')", title, show=False, priority=True, id=f"replay_{id}")
        for id, key, _, title in KEYS
    ]

    def __init__(self, feed: ReplayFeed, **options: Any) -> None:
        super().__init__(feed, **{**options, "read_only": True})
        self._feed = feed
        self._polled = 0.0

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the scrubber are keys of the screens: what is typed into a dialog stays there."""
        if action == "seek":
            return isinstance(self.screen, ConsoleScreen)
        return super().check_action(action, parameters)

    def beat(self) -> None:
        """Show the picture and where in time it is."""
        place = self.place_or_none
        if place is not None and place.is_mounted and place.query("#keys"):
            if not place.query("#scrubber"):
                place.mount(Scrubber(self.given.glyphs), before="#keys")
            else:
                place.query_one("#scrubber", Scrubber).show(self._feed)
        super().beat()
        loop = asyncio.get_running_loop()
        if self._feed.status.kind == "live" and loop.time() - self._polled >= _POLL:
            self._seek(Seek())

    def action_seek(self, id: str) -> None:
        """Do what a key of the scrubber says."""
        self._seek(request_of(id, self._feed.replay))

    def goto(self, time: float) -> None:
        """To the picture of that time."""
        self._seek(Seek(to=time))

    def _seek(self, request: Seek) -> None:
        self._polled = asyncio.get_running_loop().time()
        self.run_worker(self._sought(request), exit_on_error=False)

    async def _sought(self, request: Seek) -> None:
        before = self._feed.replay
        try:
            await self._feed.seek(request)
        except SidestepError as error:
            if request != Seek():
                self.tell(str(error))
            return
        now = self._feed.replay
        if before is not None and now is not None and now.time < before.time:
            log = self.get_screen("log")
            if hasattr(log, "forget"):
                log.forget()
        if request != Seek():
            self.beat()

    def run_line(self, text: str | None) -> None:
        """``goto`` and ``speed`` besides the registry's commands."""
        word, _, value = (text or "").strip().partition(" ")
        try:
            if word == "goto":
                self.goto(time_of(value, self._feed.replay))
                return
            if word == "speed":
                self._seek(Seek(speed=float(value)))
                return
        except ValueError:
            self.tell(f":{word} {value}: write {' or '.join(w for w, _ in WORDS)}")
            return
        super().run_line(text)

    def do_help(self) -> None:
        """The keys of the scrubber, then those of the screen."""
        scope, glyphs = self.place.SCOPE, self.given.glyphs
        ours: list[Line] = [(Span(fit(f" {key}", 18, glyphs), "accent"), Span(title)) for _, _, key, title in KEYS]
        ours += [(Span(fit(f" {word}", 18, glyphs), "accent"), Span(title)) for word, title in WORDS]
        width = tell_width(self.size.width)
        rest = help_lines(scope, glyphs, read_only=True, keymap=self.given.keymap, width=width)
        self.push_screen(TellPanel(self.given, f"keys of the {scope} screen in a replay", [*ours, (), *rest]))


def request_of(id: str, found: ReplayView | None) -> Seek:
    """What a key of the scrubber asks for."""
    playing, speed = (found.playing, found.speed) if found is not None else (False, 1.0)
    return {
        "play": Seek(play=not playing),
        "back": Seek(by=-1, play=False),
        "on": Seek(by=1, play=False),
        "decision_back": Seek(decisions=-1, play=False),
        "decision_on": Seek(decisions=1, play=False),
        "slower": Seek(speed=max(0.25, speed / 2)),
        "faster": Seek(speed=min(3600.0, speed * 2)),
        "begin": Seek(to=found.first if found is not None else 0.0, play=False),
    }[id]


def time_of(text: str, found: ReplayView | None) -> float:
    """The unix time of ``HH:MM[:SS]`` on the last day of the recording, or of a whole date. Raises ValueError."""
    from datetime import datetime  # noqa: PLC0415 - for this alone

    if found is None:
        raise ValueError("nothing is known yet")
    if ":" in text and "-" not in text:
        day = f"{datetime.fromtimestamp(found.last):%Y-%m-%d}"
        text = f"{day}T{text if len(text.split(':', maxsplit=1)[0]) == 2 else '0' + text}"
    return datetime.fromisoformat(text).timestamp()


def scrubber_line(found: ReplayView, width: int, glyphs: Glyphs) -> Line:
    """Where one is: time, a bar with decisions marked on it, the end, the speed."""
    room = max(8, width - _BESIDE)
    reach = max(1e-9, found.last - found.first)

    def place(time: float) -> int:
        return max(0, min(room - 1, int((time - found.first) / reach * (room - 1))))

    cells = ["-" if glyphs.ascii else "─"] * room
    for mark in found.marks:
        cells[place(mark)] = "|" if glyphs.ascii else "┼"
    here = place(found.time)
    return (
        Span(f" {glyphs.running if found.playing else '=' if glyphs.ascii else '‖'} ", "accent"),
        Span(f"{clock(found.time)} ", "strong"),
        Span("".join(cells[:here]), "accent"),
        Span(glyphs.mark, "alert"),
        Span("".join(cells[here + 1 :]), "muted"),
        Span(f" {clock(found.last)}  {found.at + 1}/{found.count}  x{found.speed:g}", "muted"),
    )


class Scrubber(LinePane):
    """The bar of time above the keys; a click goes there. A second line says what another policy would have done."""

    DEFAULT_CSS = "Scrubber { height: auto; max-height: 2; background: $panel; overflow-y: hidden; }"

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(id="scrubber")
        self.can_focus = False
        self._glyphs = glyphs
        self._shown: ReplayView | None = None
        self.styles.height = 1

    def show(self, feed: ReplayFeed) -> None:
        """Take where the recording is."""
        self._shown = feed.replay
        self.relay()

    def relay(self) -> None:
        """Make the lines for the present width."""
        found = self._shown
        if found is None:
            return
        lines = [scrubber_line(found, self.size.width, self._glyphs)]
        if found.otherwise:
            lines.append((Span(" would have "), span(found.otherwise, "warn")))
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)
        self.show_lines(lines)

    def on_click(self, event: Click) -> None:
        """Go to the time that was clicked."""
        found, app = self._shown, self.app
        if found is None or event.y or not isinstance(app, ReplayApp):
            return
        room = max(8, self.size.width - _BESIDE)
        part = min(1.0, max(0.0, (event.x - 12) / max(1, room - 1)))
        app.goto(found.first + part * (found.last - found.first))
