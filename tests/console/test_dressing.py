"""What the console wears, rings and writes: themes by fleet and live, alerts, exports and the clipboard."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Console, console_on
from frames import Daemon, Fleet
from msgspec.structs import replace

from sidestep import themes
from sidestep.console import exporting, settings
from sidestep.console.alerting import notification
from sidestep.console.settings import Settings
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import Label

EVIL = "\x1b]52;c;aGk=\x07=1+1[@click=app.quit]\u202e"


def theme_file(name: str, accent: str = "#f2c14e") -> None:
    text = (Path(themes.__file__).resolve().parent / "dusk.toml").read_text()
    text = text.replace('name = "dusk"', f'name = "{name}"').replace("#f2c14e", accent)
    themes.user_dir().mkdir(parents=True, exist_ok=True)
    path = themes.user_dir() / f"{name}.toml"
    path.write_text(text)
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + len(accent) + int(accent[1:], 16) * 1000))


async def told(console: Console, text: str) -> None:
    await console.until(lambda: any(text in said.message for said in console.app._notifications))


async def look(console: Console) -> str:
    console.app._looked = 0.0
    await console.press()
    return console.app.theme_variables["accent"]


async def test_a_fleet_has_its_own_theme_and_a_changed_file_is_worn_at_once(daemon: Daemon, socket: Path) -> None:
    theme_file("ours", "#ffffff")
    async with console_on(socket, settings=Settings(theme="day", fleets={"demo": "ours"})) as console:
        assert (await look(console)).lower() == "#ffffff"
        theme_file("ours", "#fefefe")
        assert (await look(console)).lower() == "#fefefe"
        theme_file("ours", "#222222")
        assert (await look(console)).lower() == "#fefefe"
        await told(console, "accent: contrast with")
        console.app.run_line("theme contrast")
        await console.press()
        assert console.app.theme == "contrast"


async def test_what_was_said_goes_before_the_fleets_and_the_settings(daemon: Daemon, socket: Path) -> None:
    given = Settings(theme="day", fleets={"demo": "contrast"})
    async with console_on(socket, theme="ansi", settings=given) as console:
        await look(console)
        assert console.app.theme == "ansi"
    async with console_on(socket, settings=Settings(theme="nowhere")) as console:
        await look(console)
        assert console.app.theme == "dusk"
        await told(console, "no theme is called")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[look]\ntheme = 7", "f:2: look.theme = 7: not the name of a theme"),
        ("[look]\nascii = 'yes'", "f:2: look.ascii = 'yes': not true or false"),
        ("[look]\nthem = 'x'", "f:2: look.them: unknown\n  remedy: did you mean theme"),
        ("alerts = 1", "f:1: alerts = 1: not a table"),
        ("[fleets]\nprod = 1", "f:2: fleets.prod = 1: not the name of a theme"),
    ],
)
def test_mistakes_in_the_settings_are_named_with_line_value_and_remedy(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.parse(text.encode(), "f")
    assert str(caught.value).startswith(said)


async def test_new_alerts_ring_once_and_what_was_there_before_does_not(daemon: Daemon, socket: Path) -> None:
    rung: list[str] = []
    async with console_on(socket, settings=Settings(bell=True, notify=True)) as console:
        app = console.app
        app.bell = lambda: rung.append("bell")
        app._driver.write = rung.append
        await console.press()
        assert rung == []
        shown = app.newest()
        frame = replace(shown.present.frame, alerts=(Label(f"{EVIL}: why"), Label("disk: 3M free")))
        import dataclasses

        loud = replace(shown, present=dataclasses.replace(shown.present, frame=frame))
        app.alert(loud)
        app.alert(loud)
        assert rung[0] == "bell"
        assert len(rung) == 2
        assert re.fullmatch(r"\x1b\]9;[^\x00-\x1f\x7f-\x9f]*\x07", rung[1])
        assert "and 1 more" in rung[1]


def test_a_notification_cannot_be_ended_early() -> None:
    """S7.6: rule 6 holds for what is written past the screen."""
    said = notification(frozenset({"x\x07\x1b\\\x9c" + "y" * 999}))
    assert said.count("\x07") == 1
    assert said.isascii() is False or len(said) < 220
    assert said[4:-1].isprintable()


async def hostile(socket: Path) -> Daemon:
    return Daemon(socket, Fleet(names=(Label(EVIL), Label("=cmd|' /C calc'!A0"), Label("h<3>&"))))


async def test_tables_and_pictures_are_written_without_anything_live_in_them(
    socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S7.6: rule 1 holds for exports."""
    monkeypatch.chdir(tmp_path)
    async with await hostile(socket), console_on(socket) as console:
        console.app.run_line("write out.csv")
        console.app.run_line("write out.json")
        console.app.run_line("write out.svg")
        await console.press("ctrl+s")
        await told(console, "written to")
        rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
        found = json.loads((tmp_path / "out.json").read_text())
        assert len(rows) == len(found) == 4
        name = next(iter(found[0]))
        assert [row[name].lstrip("'") for row in rows] == [row[name] for row in found]
        assert all(text.isprintable() and not text.startswith("=") for row in rows for text in row.values())
        assert any(row[name].startswith("'=cmd") for row in rows)
        assert {row[name] for row in found} >= {"h<3>&", "h4"}
        assert "risk" in found[0]
        pictures = list(tmp_path.glob("*.svg"))
        assert len(pictures) == 2
        for picture in pictures:
            assert picture.stat().st_mode & 0o077 == 0
            ElementTree.fromstring(picture.read_text())
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", picture.read_text())


async def test_what_cannot_be_written_is_told_and_nothing_is_overwritten(
    daemon: Daemon, socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    monkeypatch.setattr(exporting, "BROWSERS", ("no-such-browser",))
    async with console_on(socket) as console:
        for line, said in (
            ("write there.csv", "File exists"),
            ("write x.pdf", "not a kind of file"),
            ("write x.png", "no browser"),
        ):
            console.app.run_line(line)
            await told(console, said)
        await console.press("5")
        console.app.run_line("write x.csv")
        await told(console, "has no table")
    assert (tmp_path / "there.csv").read_text() == "mine"


async def test_names_are_copied_to_the_clipboard_of_the_terminal(socket: Path) -> None:
    async with await hostile(socket), console_on(socket) as console:
        copied: list[Any] = []
        console.app.copy_to_clipboard = copied.append
        await console.press("y")
        await console.press("space", "space", "y")
        assert len(copied) == 2
        assert copied[1].count("\n") == 1
        assert all(text.isprintable() for line in copied for text in line.split("\n"))


def test_a_png_is_drawn_by_a_browser_where_there_is_one(tmp_path: Path) -> None:
    try:
        program = exporting.browser()
    except exporting.UsageError:
        pytest.skip("NO BROWSER: PNG pictures are not tested here; install chromium (scripts/debian-packages)")
    exporting.png(tmp_path / "x.png", program, '<svg viewBox="0 0 90 40" xmlns="http://www.w3.org/2000/svg"></svg>')
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
