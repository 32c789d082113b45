"""Shards that are control groups: units in the fleet's slice, and what a shard's folder names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from watching import Watched

pytestmark = pytest.mark.openssh
both = pytest.mark.parametrize("kind", ["python", "perl"])
TOP = Path("/sys/fs/cgroup")
SLICE = "sidestep.slice/sidestep-grouped.slice"


def mounted(controller: str) -> Path | None:
    """The root of version 2 as "", or of a controller of version 1."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        if (kind == "cgroup2" and controller == "") or (kind == "cgroup" and controller in options.split(",")):
            return Path(path)
    return None


@contextmanager
def groups(folders: list[Path]) -> Iterator[None]:
    """The folders, with all above them that are missing; skips where they cannot be made."""
    made: list[Path] = []
    try:
        for folder in folders:
            for one in (*reversed(folder.parents), folder):
                if not one.exists():
                    one.mkdir()
                    made.append(one)
        yield
    except PermissionError as error:
        pytest.skip(f"NOT CHECKED: control groups cannot be made here: {error}")
    except OSError as error:
        if error.errno != 30:
            raise
        pytest.skip(f"NOT CHECKED: control groups cannot be made here: {error}")
    finally:
        for one in reversed(made):
            for pid in (one / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    os.kill(int(pid), 9)
            for _ in range(200):
                try:
                    one.rmdir()
                    break
                except OSError:
                    subprocess.run(["sleep", "0.02"], check=False)


def started(code: str, folders: list[Path]) -> subprocess.Popen[bytes]:
    """A process that is in its groups before it takes any memory."""
    join = 'for folder; do echo $$ >"$folder/cgroup.procs" || exit; done; exec "$PYTHON" -ISc "$CODE"'
    return subprocess.Popen(
        ["/bin/sh", "-c", join, "sh", *map(str, folders)],
        start_new_session=True,
        env={"PYTHON": sys.executable, "CODE": code},
    )


BURN = "while True: pass"
HOLD = "import time; kept = bytes(range(256)) * 200000; time.sleep(600)"


@both
async def test_units_in_the_fleets_slice_are_shards(sshd: Callable[..., Any], kind: str) -> None:
    """CPU and pressure by version 2, memory by whichever version has it; escaped names are undone."""
    unified, v1_memory = mounted(""), mounted("memory")
    if unified is None:
        pytest.skip("no cgroup v2 here")
    roots = [unified, *([v1_memory] if v1_memory else [])]
    units = ["burn.service", r"hold\x2dit.scope"]
    folders = {unit: [root / SLICE / unit for root in roots] for unit in units}
    seen = Watched("grouped")
    with groups([folder for unit in units for folder in folders[unit]]):
        processes = [started(BURN, folders[units[0]]), started(HOLD, folders[units[1]])]
        try:
            host = sshd("a")
            transport = await host.connected()
            await seen.samples(transport, 6, kind=kind)
            assert seen.shards() == ("burn", "hold-it")
            for name, process in zip(seen.shards(), processes, strict=True):
                assert [seen.shard(name, column) for column in ("pid", "running")] == [process.pid, 1]
            assert 0.05e6 < seen.shard_rate("burn", "cpu") < 1.5e6
            assert seen.shard_rate("hold-it", "cpu") < 0.05e6
            assert seen.shard("burn", "psi_cpu_some") >= 0
            if v1_memory or (folders[units[1]][0] / "memory.current").exists():
                assert 40e6 < seen.shard("hold-it", "memory") < 100e6

            def gone() -> bool:
                if processes[0].poll() is None:
                    processes[0].send_signal(signal.SIGKILL)
                    processes[0].wait()
                return not seen.running("burn")

            await seen.follow(transport, gone, kind=kind)
            assert seen.shards() == ("burn", "hold-it")
            assert seen.shard("burn", "pid") == 0
        finally:
            for process in processes:
                process.kill()
                process.wait()


@both
async def test_version_1_counts_what_version_2_does_not(sshd: Callable[..., Any], kind: str) -> None:
    """A group of version 1 alone: cpuacct, memory and throttling by the quota of cpu."""
    roots = [mounted(controller) for controller in ("cpuacct", "cpu", "memory")]
    if None in roots:
        pytest.skip("no cgroup v1 here")
    folders = [root / SLICE / "slow.service" for root in roots if root is not None]
    with groups(folders):
        (folders[1] / "cpu.cfs_quota_us").write_text("20000")
        process = started(BURN, folders)
        try:
            seen = Watched("grouped")
            await seen.samples(await sshd("a").connected(), 8, kind=kind)
            assert [seen.shard("slow", column) for column in ("pid", "running")] == [process.pid, 1]
            assert 0 < seen.shard_rate("slow", "cpu") < 0.8e6
            assert seen.shard("slow", "throttles") > 0
            assert seen.shard("slow", "throttled") > 0
            assert 1e6 < seen.shard("slow", "memory") < 64e6
        finally:
            process.kill()
            process.wait()


async def test_a_shards_folder_may_name_its_group(sshd: Callable[..., Any]) -> None:
    unified = mounted("")
    if unified is None:
        pytest.skip("no cgroup v2 here")
    group = unified / "sidestep-grouped-elsewhere"
    with groups([group]):
        process = started(BURN, [group])
        try:
            host = sshd("a")
            shard = host.home / ".local/state/sidestep/grouped/named"
            shard.mkdir(parents=True)
            (shard / "cgroup").write_text(f"{group}\n")
            start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[19]
            (shard / "pid").write_text(f"{process.pid} {start} 9 0 x\n")
            seen = Watched("grouped")
            await seen.samples(await host.connected(), 5, kind="python")
            assert [seen.shard("named", column) for column in ("pid", "token", "running")] == [process.pid, 9, 1]
            assert 0.05e6 < seen.shard_rate("named", "cpu") < 1.5e6
            assert seen.shard("named", "psi_cpu_some") >= 0
        finally:
            process.kill()
            process.wait()
