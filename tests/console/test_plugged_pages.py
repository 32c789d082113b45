"""X6: a page of a plugin shows its lines, can do nothing else, and what is wrong with it stands in its place."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon, lively

from sidestep.console import plugged
from sidestep.console.text import Span, plain
from sidestep.fleet import extensions
from sidestep.fleet.extensions import PAGES
from sidestep.fleet.pages import PageLine, PageView

HELD = threading.Event()


class Zones:
    """Tells the hosts of each zone."""

    def lines(self, view: PageView) -> Iterable[PageLine]:
        yield f"{view.fleet}: {len(view.hosts)} hosts, {len(view.shards)} shards"
        for row, host in enumerate(view.hosts):
            yield [(host, "strong"), (f" {view.condition(row)} {view.use(row, 'cpu'):.1f} cores", "muted")]
        yield [("\x1b]52;c;x\x07[red]not red[/]", "warn")]


class Broken:
    """Has lines once, and then none."""

    def __init__(self) -> None:
        self.asked = 0

    def lines(self, view: PageView) -> Iterable[PageLine]:
        self.asked += 1
        if self.asked > 1:
            raise LookupError("no such\x1b[31m thing")
        return ["first lines"]


class Stuck:
    def lines(self, view: PageView) -> Iterable[PageLine]:
        HELD.wait(60)
        return ["late"]


class Odd:
    def lines(self, view: PageView) -> Iterable[PageLine]:
        return [[("text", "blink")]]  # type: ignore[list-item]


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    found = {
        name: EntryPoint(name, f"{__name__}:{name.title()}", PAGES)
        for name in ("zones", "broken", "stuck", "odd", "lost")
    }
    monkeypatch.setattr(extensions, "entries", lambda group: found if group == PAGES else {})
    plugged.pages.cache_clear()
    HELD.clear()
    yield
    HELD.set()
    plugged.pages.cache_clear()


async def test_its_lines_follow_the_picture_and_nothing_in_them_is_acted_on(socket: Path) -> None:
    async with Daemon(socket, lively()), console_on(socket, (120, 40)) as console:
        await console.press("colon", *"page", "space", *"zo", "tab", "enter")
        await console.sees("zones (plugin)")
        await console.sees("cores")
        await console.sees("[red]not red[/]")
        assert "\x1b" not in console.text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "page broken failed: LookupError: no such"),
        ("odd", "page odd failed: TypeError: a line is a text, or pairs"),
        ("lost", "plugin lost .* cannot be loaded"),
    ],
)
async def test_one_that_fails_says_so_in_its_place_and_the_console_goes_on(socket: Path, name: str, said: str) -> None:
    async with Daemon(socket, lively()), console_on(socket, (120, 40)) as console:
        console.app.open_page("page", name)
        await console.sees("PLUGIN FAILED")
        await console.sees(said.split(" .* ", maxsplit=1)[0])
        if name == "broken":
            await console.sees("first lines")
        await console.press("1")
        await console.sees("hosts")


async def test_one_that_never_answers_keeps_nobody_waiting(socket: Path) -> None:
    async with Daemon(socket, lively()), console_on(socket, (120, 40)) as console:
        console.app.open_page("page", "stuck")
        await console.sees("asking the plugin")
        working = console.app.place._working
        assert working.busy and not working.ask(object())
        await console.press("1")
        await console.sees("hosts")


async def test_a_name_that_no_plugin_has_is_told_with_those_that_there_are(socket: Path) -> None:
    async with Daemon(socket, lively()), console_on(socket, (120, 40)) as console:
        await console.press("colon", *"page", "space", *"nobody", "enter")
        await console.sees("no page is called nobody; there are: broken, lost")


def test_an_answer_is_bounded_and_an_empty_line_is_a_line() -> None:
    shown = plugged.taken(["x" * 5000, "", []])
    assert [len(plain(line)) for line in shown] == [plugged.LONGEST, 0, 0]
    assert shown[2] == (Span(""),)
    many = plugged.taken("line" for _ in range(10**9))
    assert len(many) == plugged.LINES + 1 and "only the first" in plain(many[-1])
