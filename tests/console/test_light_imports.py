"""Nothing heavy is imported before it is needed, and numpy never is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"numpy", "pandas", "scipy", "sktime", "asyncssh", "paramiko", "numba", "distributed"}
LISTED = "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
HELP = """
import sys
sys.argv = ["sidestep", "--help"]
from sidestep.console.cli import main
try:
    main()
except SystemExit:
    print()
"""
PAINT = """
import asyncio
from pathlib import Path
from sidestep.console.app import ConsoleApp
from sidestep.console.feed import Feed
from sidestep.console.sessions import Attached
async def paint():
    async with ConsoleApp(Feed(Attached(Path("/nowhere")))).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
asyncio.run(paint())
"""
FRAME = """
import sys
sys.path.insert(0, {folder!r})
from frames import Fleet
from sidestep.console.view import decode
assert decode(Fleet().frame()).peak(1, 0) > 0
"""


def imported(program: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", program + LISTED.lstrip("; ")], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ran.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(("program", "also"), [(HELP, {"textual", "rich", "msgspec"}), (PAINT, set())])
def test_help_and_first_paint_import_nothing_heavy(program: str, also: set[str]) -> None:
    assert not imported(program) & HEAVY
    assert not imported(program) & also


def test_a_frame_is_read_without_numpy() -> None:
    assert "numpy" not in imported(FRAME.format(folder=str(Path(__file__).parent)))
