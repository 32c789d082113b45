"""What watching costs the watched host: our samplers against a node_exporter scrape, vmstat and glances.

Every contender takes one sample a second for some seconds, so with cold caches, in turns with
the others on the same host. CPU is that of all its processes, in microseconds a sample; the start of
a sampler is a figure of its own, and so is what it does once in its first seconds beside sampling: its
parts are compiled, scheduled tasks are looked for, the memory of shards is measured exactly. Shards are
fifty real processes that work a little five times a second, found by pid files, and the same fifty in
control groups where those can be made.

The floor is a program in C that does nothing but sleep and read the same files again, kept open, and
looks at no byte of them: what the kernel takes to make their text, and what nobody can go below who reads it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.harness import Goal, Report, Sample, Spread, interleave, main
from sidestep.backends.sampler import starts
from sidestep.fleet.inventory import SamplerKind

SHARDS = 50
#: samples until all that a sampler does at first is done: it looks for scheduled tasks after ten seconds
SETTLED = 13
KINDS: tuple[SamplerKind, ...] = ("python", "perl", "awk", "sh")
FLEET = "bench"
SHARD = "import time\nwhile True:\n    sum(range(2000))\n    time.sleep(0.2)"
#: what a sample of a machine is read from
MACHINE = [f"/proc/{name}" for name in ("stat", "loadavg", "meminfo", "diskstats", "net/dev")]
MACHINE += [f"/proc/pressure/{name}" for name in ("cpu", "memory", "io")]
FLOOR = """\
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **paths) {
    static char data[1 << 16];
    int *files = calloc(count, sizeof(int));
    for (int i = 1; i < count; i++) files[i] = open(paths[i], O_RDONLY);
    for (;;) {
        sleep(1);
        for (int i = 1; i < count; i++) if (pread(files[i], data, sizeof data, 0) < 0) return 1;
        if (write(1, "V\\n", 2) != 2) return 0;
    }
}
"""
GROUPS = Path("/sys/fs/cgroup")
CLK = os.sysconf("SC_CLK_TCK")


def spent(session: int) -> float:
    """Microseconds of processor time of all processes of a session, and of those that ended in it."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            words = (entry / "stat").read_text().rpartition(") ")[2].split()
            if int(words[3]) == session:
                total += (int(words[13]) + int(words[14])) * 1e6 / CLK
                for task in (entry / "task").iterdir():
                    total += int((task / "schedstat").read_text().split()[0]) / 1e3
    return total


def memory(session: int) -> float:
    """Proportional bytes of all processes of a session, MB."""
    total = 0
    for pid in (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with suppress(OSError, ValueError, IndexError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            if int(words[3]) == session:
                total += int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
    return total / 1024


def ended(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ours(kind: SamplerKind, state: str, samples: int) -> Sample:
    """One of our samplers, as it is started on a host, one sample a second."""
    environment = {**os.environ, "XDG_STATE_HOME": state}
    environment.pop("SIDESTEP_HOST_TREE", None)
    process = subprocess.Popen(
        ["/bin/sh", "-c", starts.command(kind, FLEET, 1.0)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )
    assert process.stdin and process.stdout
    try:
        os.write(process.stdin.fileno(), starts.payload(kind, FLEET, 60.0))
        started = before = 0.0
        for count in range(SETTLED + samples + 1):
            if starts.ticking(kind):
                if count:
                    time.sleep(1.0)
                else:
                    process.stdout.readline()
                os.write(process.stdin.fileno(), b"n\n")
            while not (line := process.stdout.readline()).startswith(b"V "):
                if not line:
                    raise RuntimeError(f"the sampler in {kind} ended")
            # What follows a record belongs to it: a moment later it sleeps again.
            time.sleep(0.05)
            if count == 0:
                started = spent(process.pid)
            elif count == SETTLED:
                before = spent(process.pid)
        cost = (spent(process.pid) - before) / samples
        return {
            "us": cost,
            "bytes": len(line),
            "start_ms": started / 1000,
            "settling_ms": (before - started - SETTLED * cost) / 1000,
            "mb": memory(process.pid),
        }
    finally:
        ended(process)


def built(folder: Path) -> Path | None:
    """The floor's program; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (folder / "floor.c").write_text(FLOOR)
    subprocess.run([compiler, "-O2", "-o", str(folder / "floor"), str(folder / "floor.c")], check=True)
    return folder / "floor"


def bottom(program: Path, samples: int, pids: list[int]) -> Sample:
    """The floor: the machine's files, and of every process the two that ours reads."""
    shards = [f"/proc/{pid}/{name}" for pid in pids for name in ("schedstat", "stat")]
    return ticking([str(program), *MACHINE, *shards], samples)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ticking(arguments: list[str], samples: int, ask: Callable[[], int] | None = None) -> Sample:
    """A peer that samples once a second, by itself or when asked."""
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stdout
    try:
        size = 0

        def once() -> None:
            nonlocal size
            if ask is not None:
                size = ask()
                time.sleep(1.0)
            else:
                size = len(process.stdout.readline()) if process.stdout else 0

        for _ in range(3):
            once()
        before = spent(process.pid)
        for _ in range(samples):
            once()
        return {"us": (spent(process.pid) - before) / samples, "bytes": size, "mb": memory(process.pid)}
    finally:
        ended(process)


def scraped(program: str, samples: int) -> Sample:
    """node_exporter as Debian starts it, scraped once a second."""
    port = free_port()

    def ask() -> int:
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    return len(answer.read())
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    return ticking([program, f"--web.listen-address=127.0.0.1:{port}"], samples, ask)


def glanced(program: str, samples: int) -> Sample:
    """glances printing three numbers once a second, its least."""
    return ticking([program, "--stdout", "cpu.user,mem.used,load", "--time", "1"], samples * 3)


@contextmanager
def fifty_shards(folder: Path) -> Iterator[list[int]]:
    """Fifty processes, with the pid files that the process backend writes."""
    processes = [
        subprocess.Popen([sys.executable, "-ISc", SHARD], start_new_session=True, stdin=subprocess.DEVNULL)
        for _ in range(SHARDS)
    ]
    try:
        for number, process in enumerate(processes):
            words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
            shard = folder / "sidestep" / FLEET / f"shard{number:02d}"
            shard.mkdir(parents=True)
            (shard / "pid").write_text(f"{process.pid} {words[19]} 1 0 127.0.0.1\n")
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            ended(process)


@contextmanager
def fifty_groups(pids: list[int]) -> Iterator[bool]:
    """The same processes in control groups of their own; False where they cannot be made."""
    roots = [GROUPS] if (GROUPS / "cgroup.controllers").exists() else [GROUPS / "unified", GROUPS / "memory"]
    made: list[Path] = []
    try:
        for root in roots:
            slices = [root / "sidestep.slice", root / "sidestep.slice" / f"sidestep-{FLEET}.slice"]
            made += slices
            for folder in slices:
                folder.mkdir(exist_ok=True)
            for number, pid in enumerate(pids):
                shard = slices[1] / f"shard{number:02d}.service"
                shard.mkdir()
                made.append(shard)
                (shard / "cgroup.procs").write_text(str(pid))
        yield True
    except OSError:
        yield False
    finally:
        for root in roots:
            for pid in pids:
                with suppress(OSError):
                    (root / "cgroup.procs").write_text(str(pid))
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def run(quick: bool) -> Report:
    """Compare what a sample costs the host that is sampled."""
    samples, runs = (4, 1) if quick else (20, 3)
    notes = []
    contenders: dict[str, Callable[[], Sample]] = {}
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as name:
        empty, full = Path(name, "empty"), Path(name, "full")
        with fifty_shards(full) as pids:
            for kind in KINDS:
                contenders[f"{kind}, 0 shards"] = partial(ours, kind, str(empty), samples)
                contenders[f"{kind}, {SHARDS} shards"] = partial(ours, kind, str(full), samples)

            def grouped() -> Sample:
                with fifty_groups(pids) as there:
                    return ours("python", str(full), samples) if there else {}

            contenders[f"python, {SHARDS} shards in control groups"] = grouped
            floor = built(Path(name))
            if floor is None:
                notes.append("there is no C compiler here: the floor is not measured")
            else:
                contenders["floor"] = partial(bottom, floor, samples, [])
                contenders[f"floor, {SHARDS} shards"] = partial(bottom, floor, samples, pids)
            places = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            peers: dict[str, tuple[str | None, Callable[[str, int], Sample]]] = {
                "node_exporter": (shutil.which("prometheus-node-exporter") or shutil.which("node_exporter"), scraped),
                "vmstat": (shutil.which("vmstat"), lambda program, count: ticking([program, "-n", "1"], count)),
                "glances": (shutil.which("glances", path=places), glanced),
            }
            for peer, (program, measure) in peers.items():
                if program is None:
                    notes.append(f"{peer} is not installed here: not compared")
                else:
                    contenders[peer] = partial(measure, program, samples)
            figures = interleave(contenders, runs)
    if not figures[f"python, {SHARDS} shards in control groups"]:
        notes.append("control groups cannot be made here: shards in them are not measured")
    return Report("sampler", goals(figures), figures, runs, quick, tuple(notes))


def goals(figures: dict[str, dict[str, Spread]]) -> tuple[Goal, ...]:
    """The share of a core at one sample a second, in percent, and how many times a scrape costs it."""

    def share(name: str) -> float:
        return figures[name]["us"].median / 1e4

    peers = {name: share(name) for name in figures if "shards" not in name}
    beside = {**peers, "floor": share(f"floor, {SHARDS} shards")} if "floor" in figures else peers
    out = [
        Goal("sampler without shards at 1 Hz", share("python, 0 shards"), "% of a core", 0.05, "<=", peers),
        Goal(
            f"sampler with {SHARDS} shards at 1 Hz",
            share(f"python, {SHARDS} shards"),
            "% of a core",
            0.05,
            "<=",
            beside,
        ),
        Goal("perl without shards at 1 Hz", share("perl, 0 shards"), "% of a core", 0.05, "<="),
    ]
    if figures[f"python, {SHARDS} shards in control groups"]:
        name = f"python, {SHARDS} shards in control groups"
        out.append(Goal(f"sampler with {SHARDS} control groups at 1 Hz", share(name), "% of a core", 0.05, "<="))
    if "node_exporter" in figures:
        scrape = share("node_exporter")
        times = {name: scrape / share(name) for name in ("floor", "vmstat") if name in figures}
        ours = scrape / share("python, 0 shards")
        out.append(Goal("less than a scrape of node_exporter", ours, "times", 100, ">=", times))
    return tuple(out)


if __name__ == "__main__":
    main("sampler", run)
