"""How long an operator waits: first paint of the console, its first host, and ``--help``.

The console attaches to a live daemon (of a synthetic fleet, behind the real server) on a
120x40 terminal; it has painted when its top line is written, and shows the fleet when the
first host's name is. Peers are what any Textual program pays (an application with one line
of text) and what any Python program pays (``pass``), in the same turns. For orientation
only, not run here: consoles written in Go, such as k9s, paint within a few tenths of a second.
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

ROOT = Path(__file__).resolve().parent.parent
SMALL_APP = """
from textual.app import App
from textual.widgets import Static

class Small(App):
    def compose(self):
        yield Static("painted", markup=False)

Small().run()
"""


def command(arguments: list[str]) -> Sample:
    """CPU and wall milliseconds of a command run to its end."""
    with ChildClock() as clock:
        subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return {"cpu_ms": clock.cpu * 1000, "wall_ms": clock.wall * 1000}


def paint(arguments: list[str], environment: dict[str, str], markers: dict[str, bytes]) -> Sample:
    """Milliseconds from exec until each marker is on a 120x40 terminal; the program is killed then."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    started, seen, found = time.perf_counter(), b"", dict[str, float]()
    try:
        while len(found) < len(markers):
            left = 20 - (time.perf_counter() - started)
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                raise TimeoutError(f"{arguments} painted {list(found)} in 20 s; it wrote {seen[-400:]!r}")
            seen += os.read(terminal, 65536)
            for name, marker in markers.items():
                if name not in found and marker in seen:
                    found[name] = (time.perf_counter() - started) * 1000
    finally:
        os.kill(pid, signal.SIGKILL)
        usage = os.wait4(pid, 0)[2]
        os.close(terminal)
    return {**found, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1000}


def served(socket: Path) -> subprocess.Popen[bytes]:
    """A daemon of a synthetic fleet of 20 hosts behind the real server."""
    daemon = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "console" / "serve_frames.py"), str(socket), "20", "100"]
    )
    deadline = time.monotonic() + 20
    while not socket.is_socket():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the synthetic daemon does not serve")
        time.sleep(0.05)
    return daemon


def run(quick: bool) -> Report:
    """First paint and --help of sidestep, beside a small Textual application and bare Python."""
    runs = 5 if quick else 15
    sidestep = str(Path(sys.executable).with_name("sidestep"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_RUNTIME_DIR": folder}
        environment.pop("NO_COLOR", None)
        socket = Path(folder, "d.sock")
        console = [sidestep, "--socket", str(socket)]
        shown = {"first_paint_ms": b"sidestep", "first_host_ms": b"h1"}
        daemon = served(socket)
        try:
            figures = interleave(
                {
                    "python -c pass": lambda: command([sys.executable, "-c", "pass"]),
                    "sidestep --help": lambda: command([sidestep, "--help"]),
                    "sidestep version": lambda: command([sidestep, "version"]),
                    "small Textual app": lambda: paint(
                        [sys.executable, "-c", SMALL_APP], environment, {"first_paint_ms": b"painted"}
                    ),
                    "sidestep console": lambda: paint(console, environment, shown),
                },
                runs,
            )
        finally:
            daemon.terminate()
            daemon.wait()
    ours, small = figures["sidestep console"], figures["small Textual app"]
    help_, bare = figures["sidestep --help"], figures["python -c pass"]
    peer = {"small Textual app": small["first_paint_ms"].median / 1000}
    goals = (
        Goal("first paint", ours["first_paint_ms"].median / 1000, "s", 0.4, "<", peer),
        Goal("first host on screen", ours["first_host_ms"].median / 1000, "s", 0.6, "<", peer),
        Goal("--help CPU", help_["cpu_ms"].median / 1000, "s", 0.15, "<",
             {"python -c pass": bare["cpu_ms"].median / 1000}),
    )  # fmt: skip
    return Report("startup", goals, figures, runs, quick)


if __name__ == "__main__":
    main("startup", run)
