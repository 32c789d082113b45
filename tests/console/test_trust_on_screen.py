"""What must be known before acting on a forecast is on the screen: a sign, a word and a colour."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import console_on
from frames import Daemon, Fleet

from sidestep.console.hostcolumns import host_line
from sidestep.console.hosttext import trust_marks
from sidestep.console.text import ASCII, UNICODE, plain
from sidestep.console.view import FleetView, decode
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.resources import CPU, MEMORY

UNPROVEN, REACTIVE = (0, 0), (2, 2)


def view(**fleet: object) -> FleetView:
    return decode(Fleet(**fleet).frame())  # type: ignore[arg-type]


def words(seen: FleetView, host: int = 1, dimension: int = CPU) -> list[str]:
    return [mark.word for mark in trust_marks(seen, host, dimension)]


def test_marks_follow_the_columns_of_the_frame() -> None:
    """S5.6, S5.22."""
    seen = view(trust={1: (0, 1), 2: (3, 2)})
    assert words(seen) == ["unproven"] and words(seen, 1, MEMORY) == []
    assert words(seen, 2) == ["reactive"] and words(seen, 0) == []
    assert words(view(confidence="insufficient")) == ["insufficient"]
    fallback = view(oracle="fallback: persistence: worker starting")
    assert words(fallback) == ["fallback"] and "worker starting" in trust_marks(fallback, 1, CPU)[0].why


def test_a_daemon_that_says_nothing_of_trust_is_not_doubted() -> None:
    frame = Fleet().frame()
    assert words(decode(msgspec.structs.replace(frame, trust=b""))) == []
    with pytest.raises(ProtocolError, match="trust"):
        decode(msgspec.structs.replace(frame, trust=b"\0"))


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_the_risk_of_a_host_carries_the_sign(glyphs) -> None:  # type: ignore[no-untyped-def]
    proven, doubted = view(), view(trust={1: UNPROVEN})
    rows = [plain(host_line(each, 1, 80, glyphs)) for each in (proven, doubted)]
    assert f"%{glyphs.trust['unproven']} " in rows[1] and glyphs.trust["unproven"] not in rows[0]
    assert len(rows[0]) == len(rows[1]), "the columns stay where they are"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_every_doubt_is_on_the_screen_as_a_word(socket: Path, size: tuple[int, int]) -> None:
    fleet = Fleet(trust=dict.fromkeys(range(4), UNPROVEN), oracle="fallback: persistence: worker starting")
    async with Daemon(socket, fleet) as daemon, console_on(socket, size=size) as console:
        await console.press()
        shown = console.text()
        assert "fallback" in shown and "unproven" in shown
        assert UNICODE.trust["unproven"] in shown and UNICODE.trust["fallback"] in shown
        fleet.confidence, fleet.oracle = "insufficient", ""
        daemon.tick(1)
        await console.press()
        await console.until(lambda: "insufficient" in console.text())
        fleet.confidence, fleet.trust = "ok", dict.fromkeys(range(4), REACTIVE)
        daemon.tick(1)
        await console.until(lambda: "reactive" in console.text())
        assert "insufficient" not in console.lines()[0]


async def test_the_chart_says_in_its_title_what_it_is_not_good_for(socket: Path) -> None:
    fleet = Fleet(trust=dict.fromkeys(range(4), UNPROVEN))
    async with Daemon(socket, fleet), console_on(socket, size=(120, 40)) as console:
        await console.press()
        assert "forecast - unproven" in console.text()
        assert "skill" in console.text() and "80 % band" in console.text(), "accuracy stands beside the chart"
