"""Parts of the host sampler in Python that this machine cannot show: timers, crontabs, containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sidestep.backends.sampler import starts
from sidestep.backends.sampler.intake_records import facts as read_facts
from sidestep.backends.sampler.intake_records import tasks as read_tasks

#: a Saturday, 2026-11-21 08:00:00 UTC
NOW = 1795248000.0


def parts(*names: str) -> dict[str, Any]:
    """The names of these parts, as on a host."""
    space: dict[str, Any] = {}
    for name in ("files", *names):
        exec(files(starts.__package__).joinpath("host", f"{name}.py").read_text(), space)
    return space


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("line", "after", "period", "name"),
    [
        ("*/15 * * * * root /usr/bin/sync-all --fast", 900, 900, "sync-all"),
        ("* * * * * root tick", 60, 60, "tick"),
        ("17 * * * * root cd / && run-parts /etc/cron.hourly", 1020, 3600, "cd"),
        ("0 */6 * * * root backup", 4 * 3600, 6 * 3600, "backup"),
        ("30 4 * * * root /opt/a", 20 * 3600 + 1800, 86400, "a"),
        ("0,10,30 * * * * root uneven", 600, 0, "uneven"),
        ("0 9-17 * * 1-5 root office", 49 * 3600, 0, "office"),
        ("0 0 * * 7 root weekly", 16 * 3600, 0, "weekly"),
        ("0 12 21 * 1 root either", 4 * 3600, 0, "either"),
        ("@hourly root hourly", 3600, 3600, "hourly"),
    ],
)
def test_a_crontabs_line_says_when_it_runs_next_and_how_often(
    utc: None, line: str, after: int, period: int, name: str
) -> None:
    assert parts("tasks")["entry"](line.encode(), True, NOW) == (NOW + after, name.encode(), period)


@pytest.mark.parametrize(
    "line", ["", "# comment", "MAILTO=root", "@reboot root x", "0 0 31 2 * root never", "61 * * * * r x", "a b"]
)
def test_other_lines_of_crontabs_are_left_out(utc: None, line: str) -> None:
    assert parts("tasks")["entry"](line.encode(), True, NOW) is None


def fake(folder: Path, output: str) -> bytes:
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{output}\nEOF\n")
    program.chmod(0o755)
    return bytes(program)


def look(space: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float | None]]:
    space["crontabs"] = lambda now: []
    line = b"T " + b",".join(space["look"](NOW))
    return [(str(task.name), task.next, task.period) for task in read_tasks(line)]


def test_timers_of_systemd_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both from JSON and from the table that older ones print; names cannot break the record."""
    space = parts("main", "tasks")
    later, last = int(NOW + 1800) * 10**6, int(NOW - 1800) * 10**6
    rows = f'[{{"next":{later},"left":1,"last":{last},"passed":1,"unit":"a b,c@1.timer","activates":"x.service"}},'
    rows += f'{{"next":{later + 60 * 10**6},"last":0,"unit":"once.timer"}},{{"next":0,"last":0,"unit":"never.timer"}}]'
    space["SYSTEMCTL"] = (b"/nowhere/systemctl", fake(tmp_path, rows))
    assert look(space, monkeypatch) == [("a_b_c_1", NOW + 1800, 3600.0), ("once", NOW + 1860, None)]
    table = (
        "Sat 2026-11-21 08:30:00 UTC 29min left    Sat 2026-11-21 07:30:00 UTC 30min ago daily.timer daily.service\n"
        "Sat 2026-11-21 09:00:00 UTC 59min left    n/a                         n/a       fresh.timer fresh.service\n"
        "n/a                         n/a           n/a                         n/a       off.timer   off.service"
    )
    space["SYSTEMCTL"] = (fake(tmp_path, table),)
    assert look(space, monkeypatch) == [("daily", NOW + 1800, 3600.0), ("fresh", NOW + 3600, None)]


def test_a_look_that_takes_long_is_given_up() -> None:
    space = parts("main", "tasks")
    space["look"] = lambda now: time.sleep(600)
    errand = space["Errand"](NOW)
    assert errand.result(NOW) is None
    assert errand.result(NOW + space["DEADLINE"]) == b"-"
    assert not Path(f"/proc/{errand.child}").exists()


def host(tmp_path: Path, mounts: str, own: str, **kept: str) -> dict[str, Any]:
    """The parts on a host whose files are below a folder."""
    space = parts("machine", "main", "facts", "contained")
    texts = {"/proc/self/mounts": mounts, "/proc/self/cgroup": own, "/proc/meminfo": "MemTotal:  8388608 kB\n"}
    for name, text in kept.items():
        path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    real = space["read"]
    space["whole"] = lambda path: texts.get(path.decode(), "").encode()
    space["read"] = lambda path, limit=65536: texts[path.decode()].encode() if path.decode() in texts else real(path)
    return space


def facts_of(space: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in read_facts(b"F " + space["Groups"]().facts(0, True)).items()}


def test_a_container_is_measured_by_its_own_group(tmp_path: Path) -> None:
    """Its /proc shows the machine: processor time, memory and limits are those of its own group."""
    mounts = f"cgroup2 {tmp_path}/cg cgroup2 rw 0 0\n"
    space = host(
        tmp_path,
        mounts,
        "0::/\n",
        cg__cgroup_dot_type="domain\n",
        cg__cpu_dot_max="50000 100000\n",
        cg__memory_dot_max="1073741824\n",
        cg__cpu_dot_stat="usage_usec 30\nuser_usec 20\nsystem_usec 10\n",
        cg__memory_dot_current="500\n",
        cg__memory_dot_stat="anon 1\nfile 300\nfile_dirty 7\nfile_writeback 1\ninactive_file 100\n",
        cg__io_dot_stat="8:0 rbytes=5 wbytes=6 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=1 rios=1 wios=1\n",
        cg__cpu_dot_pressure="some avg10=0.00 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.00 total=3\n",
    )
    told = facts_of(space)
    assert (told["container"], told["cgroup"], told["cpus"], told["memory"]) == ("bare", "v2", "0.5", "1073741824")
    words = space["Contained"](space["Groups"]()).tokens()
    assert len(words) == 35
    assert words[:8] == [b"20", b"0", b"10", b"-", b"-", b"0", b"0", b"0"]
    assert words[11:13] == [b"42", b"3"]
    assert words[18:24] == [b"1073741824", b"400", b"300", b"8", b"-", b"-"]
    assert words[24:29] == [b"2", b"6", b"3", b"7", b"-"]


def test_limits_of_all_groups_above_count(tmp_path: Path) -> None:
    mounts = f"cgroup2 {tmp_path}/cg cgroup2 rw 0 0\n"
    space = host(
        tmp_path,
        mounts,
        "0::/user.slice/session.scope\n",
        cg__user_dot_slice__cpu_dot_max="25000 100000\n",
        cg__user_dot_slice__session_dot_scope__cpu_dot_max="max 100000\n",
        cg__user_dot_slice__session_dot_scope__memory_dot_max="max\n",
    )
    told = facts_of(space)
    assert (told["container"], told["cpus"], told["memory"]) == ("none", "0.25", str(8 << 30))


def test_version_1_and_lxcfs_are_told(tmp_path: Path) -> None:
    mounts = f"cg {tmp_path}/m cgroup rw,memory 0 0\ncg {tmp_path}/c cgroup rw,cpu,cpuacct 0 0\n"
    space = host(
        tmp_path,
        mounts,
        "4:memory:/\n3:cpu,cpuacct:/\n",
        m__release_agent="",
        m__memory_dot_limit_in_bytes="2147483648\n",
        c__cpu_dot_cfs_quota_us="-1\n",
        c__cpu_dot_cfs_period_us="100000\n",
    )
    told = facts_of(space)
    assert (told["cgroup"], told["container"], told["memory"]) == ("v1", "none", str(2 << 30))
    lxcfs = host(tmp_path, mounts + "lxcfs /proc/stat fuse.lxcfs rw 0 0\n", "4:memory:/\n")
    assert facts_of(lxcfs)["container"] == "lxcfs"


def test_a_process_that_runs_is_read_in_full_now_and_then_and_once_it_rests() -> None:
    space = parts("processes")
    if not space["PRECISE"]:
        pytest.skip("this kernel does not say how long a task ran")
    work = "import sys\nfor line in sys.stdin:\n    print(sum(range(100000)), flush=True)"
    with subprocess.Popen([sys.executable, "-ISc", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        tree = space["Tree"](child.pid)
        seen, times = [], []
        for _ in range(8 * (space["BRIEFLY"] + 1)):
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.stdout.readline()
            while Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] != "S":
                pass  # its time is counted once it sleeps
            seen.append(tree.look(0.0, 1, 2.0))
            times.append(tree.time() if seen[-1] == 1 else tree.total(0.0)[0])
        told = "".join(map(str, seen))
        assert "1" * space["BRIEFLY"] + "2" in told
        assert "1" * (space["BRIEFLY"] + 1) not in told
        assert "0" not in told[space["FIRST"] :]
        assert all(sooner < later for sooner, later in pairwise(times))
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert 2 in [tree.look(0.0, 1, 2.0) for _ in range(2)]
        assert tree.all[child.pid].state == b"T"
        assert tree.look(0.0, 1, 2.0) == 0
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with pytest.raises(space["Gone"]):
            tree.look(0.0, 1, 2.0)
        tree.close()


def test_a_child_of_what_was_alone_is_counted_and_given_up() -> None:
    space = parts("processes")
    if not space["PRECISE"]:
        pytest.skip("this kernel does not say how long a task ran")
    work = """
import subprocess, sys
below = []
for line in sys.stdin:
    if line == "more\\n":
        below.append(subprocess.Popen(["sleep", "100"]))
    elif below:
        below[0].kill()
        below.pop().wait()
    print(sum(range(10000)), flush=True)
"""
    with subprocess.Popen([sys.executable, "-ISc", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        tree, sizes = space["Tree"](process.pid), []
        for tick, word in enumerate([b"\n"] * 6 + [b"more\n"] + [b"\n"] * 3):
            process.stdin.write(word)
            process.stdin.flush()
            process.stdout.readline()
            tree.look(4.0 * tick, tick, 2.0)
            sizes.append(len(tree.all))
        assert sizes == [1] * 6 + [2] + [1] * 3
        process.kill()
        tree.close()
