"""What the console costs: 1,000 hosts and 20,000 shards, two pictures a second, a real terminal of 200x60.

CPU seconds of the console's process (other load of the machine does not count) and bytes to the terminal,
beat for beat, beside a Textual DataTable of the same rows that updates only what is visible, and
beside an application that takes the same pictures and draws nothing: what is above the last is painting.
Latencies are wall time on a machine that others may use; a busy machine makes them longer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.console_stage import BEAT
from benchmarks.harness import Goal, Report, Sample, interleave, main
from benchmarks.startup import SMALL_APP, paint

COLUMNS, ROWS = 200, 60
HOSTS, SHARDS = 1000, 20_000


class Terminal:
    """A program on a terminal of its own, whose output is read and counted."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, environment)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.bytes, self.tail = 0, b""

    def read(self, seconds: float, until: bytes = b"") -> bool:
        """Read for so long, or until a text came; whether it did."""
        end, kept = time.perf_counter() + seconds, b""
        while (left := end - time.perf_counter()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                break
            data = os.read(self._terminal, 1 << 20)
            self.bytes += len(data)
            kept = kept[-100:] + data
            self.tail = (self.tail + data)[-2000:]
            if until and until in kept:
                return True
        return False

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._terminal, key)

    @property
    def cpu(self) -> float:
        """CPU seconds of the process so far, by its own clock: ticks of 10 ms are as much as a beat."""
        return time.clock_gettime(~self.pid << 3 | 2)  # as clock_getcpuclockid(3) makes it

    @property
    def rss(self) -> float:
        """The most memory that the process ever had, MB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def end(self) -> None:
        """End the program."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@contextlib.contextmanager
def stage(socket: Path, mood: str) -> Iterator[None]:
    """A fleet behind the real server."""
    arguments = [sys.executable, "-m", "benchmarks.console_stage", "serve", str(socket), str(HOSTS), str(SHARDS), mood]
    daemon = subprocess.Popen(arguments)
    try:
        deadline = time.monotonic() + 30
        while not socket.is_socket():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the synthetic daemon does not serve")
            time.sleep(0.05)
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def steady(arguments: list[str], environment: dict[str, str], marker: bytes, seconds: float) -> Sample:
    """CPU share, bytes a beat and memory, once the program shows something and has settled."""
    terminal = Terminal(arguments, environment)
    try:
        if not terminal.read(30, marker):
            raise TimeoutError(f"{arguments} did not show {marker!r}; it wrote {terminal.tail[-300:]!r}")
        terminal.read(3.0)
        cpu, sent, began = terminal.cpu, terminal.bytes, time.perf_counter()
        terminal.read(seconds)
        wall = time.perf_counter() - began
        used, beats = terminal.cpu - cpu, wall / BEAT
        return {
            "cpu_percent": 100 * used / wall,
            "cpu_ms_per_beat": 1000 * used / beats,
            "bytes_per_beat": (terminal.bytes - sent) / beats,
            "rss_mb": terminal.rss,
        }
    finally:
        terminal.end()


def latencies(arguments: list[str], environment: dict[str, str], presses: int) -> Sample:
    """Milliseconds from a key (freeze) until its effect is painted, at all phases of the beat."""
    terminal, found = Terminal(arguments, environment), list[float]()
    try:
        terminal.read(30, b"web-")
        terminal.read(3.0)
        for at in range(presses):
            terminal.read(0.13 + 0.037 * (at % 7))
            began = time.perf_counter()
            terminal.press(b"f")
            if not terminal.read(5, b"FROZEN"):
                raise TimeoutError("a key had no effect in 5 s")
            found.append((time.perf_counter() - began) * 1000)
            terminal.press(b"f")
    finally:
        terminal.end()
    found.sort()
    return {"p50_ms": statistics.median(found), "p99_ms": found[min(len(found) - 1, int(len(found) * 0.99))]}


def run(quick: bool) -> Report:
    """The console beside a DataTable and beside nothing drawn, in turns."""
    runs, seconds, presses = (1, 8.0, 40) if quick else (3, 20.0, 120)
    sidestep = str(Path(sys.executable).with_name("sidestep"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_RUNTIME_DIR": folder}
        environment.pop("NO_COLOR", None)
        environment["XDG_CONFIG_HOME"] = folder
        # as installed: modules are compiled once, here by the first start, which is not measured
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder, "compiled"))
        lively, quiet = Path(folder, "lively.sock"), Path(folder, "quiet.sock")
        peer = [sys.executable, "-m", "benchmarks.console_stage"]
        console = [sidestep, "--socket", str(lively)]
        with stage(lively, "lively"), stage(quiet, "quiet"):
            for program in (console, [sys.executable, "-c", SMALL_APP]):
                paint(program, environment, {"shown": b"web-" if program is console else b"painted"})
            figures = interleave(
                {
                    "console": lambda: steady(console, environment, b"web-", seconds),
                    "DataTable": lambda: steady([*peer, "table", str(lively)], environment, b"web-", seconds),
                    "our table": lambda: steady([*peer, "lines", str(lively)], environment, b"web-", seconds),
                    "nothing drawn": lambda: steady([*peer, "nothing", str(lively)], environment, b"nothing", seconds),
                    "console, quiet fleet": lambda: steady(
                        [sidestep, "--socket", str(quiet)], environment, b"web-", seconds
                    ),
                    "keys": lambda: latencies(console, environment, presses),
                    "small Textual app": lambda: paint(
                        [sys.executable, "-c", SMALL_APP], environment, {"first_paint_ms": b"painted"}
                    ),
                    "first paint": lambda: paint(console, environment, {"first_paint_ms": b"sidestep"}),
                },
                runs,
            )
    rows, table, nothing = (
        figures[name]["cpu_ms_per_beat"].median for name in ("our table", "DataTable", "nothing drawn")
    )
    painted, theirs = max(0.1, rows - nothing), max(0.1, table - nothing)
    peers = {"DataTable": figures["DataTable"]["cpu_percent"].median}
    goals = (
        Goal("CPU of painting the same rows, DataTable to ours", theirs / painted, "times", 12.0, ">="),
        Goal("CPU of one core", figures["console"]["cpu_percent"].median, "%", 3.0, "<=", peers),
        Goal("bytes a beat, quiet fleet", figures["console, quiet fleet"]["bytes_per_beat"].median, "B", 1000.0, "<"),
        Goal("key to paint, p99", figures["keys"]["p99_ms"].median, "ms", 50.0, "<"),
        Goal("most memory", figures["console"]["rss_mb"].median, "MB", 120.0, "<"),
        Goal(
            "first paint",
            figures["first paint"]["first_paint_ms"].median / 1000,
            "s",
            0.4,
            "<",
            {"small Textual app": figures["small Textual app"]["first_paint_ms"].median / 1000},
        ),
    )
    notes = (
        f"{HOSTS} hosts, {SHARDS} shards, {1 / BEAT:g} pictures a second, {COLUMNS}x{ROWS}; CPU seconds of the process",
        "painting is what is above an application that takes the same pictures and draws nothing",
        "DataTable and our table draw the same hosts alone, and ours sorts them; the console draws all its panes",
    )
    return Report("console", goals, figures, runs, quick, notes)


if __name__ == "__main__":
    main("console", run)
