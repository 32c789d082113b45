"""How long an operator waits: first paint of the console, and ``--help``.

Peers are what any Textual program pays (an empty application) and what any Python
program pays (``pass``), in the same turns. For orientation only, not run here: consoles
written in Go, such as k9s, paint within a few tenths of a second.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from benchmarks.harness import ChildClock, Goal, Report, Sample, interleave, main

EMPTY_APP = "from textual.app import App; App().run()"
#: what both consoles write only once the first screen is up
SETTLED = 0.25


def command(arguments: list[str]) -> Sample:
    """CPU and wall milliseconds of a command run to its end."""
    with ChildClock() as clock:
        subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return {"cpu_ms": clock.cpu * 1000, "wall_ms": clock.wall * 1000}


def first_paint(arguments: list[str], environment: dict[str, str], marker: bytes) -> Sample:
    """Milliseconds from exec to ``marker`` on a 120x40 terminal; the program is killed then."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    started, seen = time.perf_counter(), b""
    try:
        while marker not in seen:
            left = 20 - (time.perf_counter() - started)
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                raise TimeoutError(f"{arguments} painted no {marker!r} in 20 s; it wrote {seen[-400:]!r}")
            seen += os.read(terminal, 65536)
        wall = time.perf_counter() - started
    finally:
        os.kill(pid, signal.SIGKILL)
        usage = os.wait4(pid, 0)[2]
        os.close(terminal)
    return {"wall_ms": wall * 1000, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1000}


def run(quick: bool) -> Report:
    """First paint and --help of sidestep, beside an empty Textual application and bare Python."""
    runs = 5 if quick else 15
    sidestep = str(Path(sys.executable).with_name("sidestep"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_RUNTIME_DIR": folder}
        environment.pop("NO_COLOR", None)
        missing = str(Path(folder, "none.sock"))
        figures = interleave(
            {
                "python -c pass": lambda: command([sys.executable, "-c", "pass"]),
                "sidestep --help": lambda: command([sidestep, "--help"]),
                "sidestep version": lambda: command([sidestep, "version"]),
                "empty Textual app": lambda: first_paint(
                    [sys.executable, "-c", EMPTY_APP], environment, b"\x1b[?1049h"
                ),
                "sidestep console": lambda: first_paint([sidestep, "--socket", missing], environment, b"sidestep"),
            },
            runs,
        )
    paint, empty = figures["sidestep console"], figures["empty Textual app"]
    help_, bare = figures["sidestep --help"], figures["python -c pass"]
    goals = (
        Goal("first paint", paint["wall_ms"].median / 1000, "s", 0.4, "<",
             {"empty Textual app (alternate screen only)": empty["wall_ms"].median / 1000}),
        Goal("--help CPU", help_["cpu_ms"].median / 1000, "s", 0.15, "<",
             {"python -c pass": bare["cpu_ms"].median / 1000}),
    )  # fmt: skip
    return Report("startup", goals, figures, runs, quick)


if __name__ == "__main__":
    main("startup", run)
