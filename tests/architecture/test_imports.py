"""What starting costs: the command line and the first paint load nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("numpy", "pandas", "sktime", "scipy", "sklearn", "asyncssh", "paramiko", "cryptography")

HELP = """
import sys
sys.argv = ["sidestep", "--help"]
from sidestep.console.cli import main
try:
    main()
except SystemExit:
    pass
"""

PAINT = """
import asyncio
from pathlib import Path
from sidestep.console.app import ConsoleApp
from sidestep.console.feed import Feed
from sidestep.console.sessions import Attached

async def paint() -> None:
    app = ConsoleApp(Feed(Attached(Path("/nonexistent/none.sock"))))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()

asyncio.run(paint())
"""


def loaded(program: str) -> set[str]:
    """The heavy modules in memory after the program ran."""
    tail = f"\nimport sys, json\nprint('\\n' + json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program + tail], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("program", [HELP, PAINT], ids=["--help", "first paint"])
def test_starting_loads_nothing_heavy(program: str) -> None:
    assert loaded(program) == set()


@pytest.mark.parametrize(
    "module", ["autopilot.client", "autopilot.protocol", "autopilot.paths", "fleet.plans", "console.cli"]
)
def test_front_end_modules_load_nothing_heavy(module: str) -> None:
    assert loaded(f"import sidestep.{module}") == set()


@pytest.mark.parametrize("module", ["autopilot.daemon", "forecasting.client", "planning"])
def test_the_daemon_leaves_sktime_and_pandas_to_the_worker(module: str) -> None:
    """S1.26: what the oracle needs lives in a process of its own."""
    assert not loaded(f"import sidestep.{module}") & {"sktime", "pandas", "sklearn"}
