"""Ways to get one sample a second from many hosts over SSH, each in a process of its own.

``python -m benchmarks.clients KIND`` reads a job from standard input and prints what it
cost: the processor time of the whole process tree of the client, masters and helpers
included, over a window in which everything is connected. Hosts and the commands that run
on them are not counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

_TICK: Final = os.sysconf("SC_CLK_TCK")
_SUBREAPER: Final = 36
#: the files that pollers read, which hold what our samples hold
CAT: Final = (
    "cat /proc/stat /proc/meminfo /proc/diskstats /proc/net/dev /proc/pressure/cpu "
    "/proc/pressure/memory /proc/pressure/io /proc/loadavg /proc/uptime"
)


class Job(Struct, frozen=True, kw_only=True):
    """Hosts as (name, address, port), where their keys are, and how long to look."""

    hosts: list[tuple[str, str, int]]
    user: str
    folder: str
    seconds: float
    #: prints one canned sample a second, for clients that cannot send ours
    emit: str = ""


class Count:
    """Samples so far, from any thread, and when each host first gave one."""

    def __init__(self) -> None:
        self.samples = 0
        self.first: dict[str, float] = {}

    def one(self, host: str) -> None:
        """A sample came."""
        self.samples += 1
        self.first.setdefault(host, time.perf_counter())


def tree_cpu() -> float:
    """Processor seconds of this process and everything below it, ended children included."""
    below: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(entry.name))
        used[int(entry.name)] = sum(int(fields[k]) for k in (11, 12, 13, 14))
    total, todo = 0, [os.getpid()]
    while todo:
        pid = todo.pop()
        total += used.get(pid, 0)
        todo += below.get(pid, [])
    return total / _TICK


def resident() -> float:
    """Resident megabytes of this process alone."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def window(
    job: Job,
    count: Count,
    settled: Callable[[], bool],
    patience: float = 90.0,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, float]:
    """Wait until ``settled`` (or not for ever), then look for ``job.seconds``; ``sleep`` lets others work."""
    began = time.perf_counter()
    while not settled() and time.perf_counter() < began + patience:
        sleep(0.05)
    sleep(2.0)
    cpu, samples, at = tree_cpu(), count.samples, time.perf_counter()
    sleep(job.seconds)
    cpu, samples, seconds = tree_cpu() - cpu, count.samples - samples, time.perf_counter() - at
    return {
        "us_per_sample": cpu / max(samples, 1) * 1e6,
        "cpu_percent": cpu / seconds * 100,
        "of_due_percent": samples / seconds / len(job.hosts) * 100,
        "rss_mb": resident(),
    }


def paramiko(job: Job) -> dict[str, float]:
    """A connection, its reader thread and a thread of ours a host; the host streams."""
    import paramiko as library  # noqa: PLC0415 - one library a process

    count, key = Count(), library.Ed25519Key.from_private_key_file(f"{job.folder}/identity")
    clients = []

    def connect(host: tuple[str, str, int]) -> None:
        client = library.SSHClient()
        client.load_host_keys(f"{job.folder}/known_hosts")
        client.set_missing_host_key_policy(library.RejectPolicy())
        client.connect(host[1], host[2], job.user, pkey=key, look_for_keys=False, allow_agent=False)
        clients.append((host[0], client))

    def read(name: str, client: Any) -> None:
        channel = client.exec_command(job.emit)[1].channel
        while data := channel.recv(65536):
            if data.endswith(b"\n"):
                count.one(name)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(connect, job.hosts))
    for name, client in clients:
        threading.Thread(target=read, args=(name, client), daemon=True).start()
    return window(job, count, lambda: len(count.first) >= len(job.hosts))


def parallel_ssh(job: Job) -> dict[str, float]:
    """libssh2 and gevent; the host streams."""
    import gevent  # noqa: PLC0415 - one library a process
    from pssh.clients import ParallelSSHClient  # noqa: PLC0415

    count = Count()
    client = ParallelSSHClient(
        [h[1] for h in job.hosts], user=job.user, pkey=f"{job.folder}/identity", port=job.hosts[0][2],
        pool_size=len(job.hosts), allow_agent=False,
    )  # fmt: skip

    def read(output: Any) -> None:
        for _ in output.stdout:
            count.one(output.host)

    tasks = [gevent.spawn(read, output) for output in client.run_command(job.emit)]
    found = window(job, count, lambda: len(count.first) >= len(job.hosts), sleep=gevent.sleep)
    del tasks
    return found


def control_master(job: Job) -> dict[str, float]:
    """OpenSSH with one master a host, and one client process a sample."""
    count, over = Count(), threading.Event()
    base = ["ssh", "-F", f"{job.folder}/ssh_config", "-o", f"ControlPath={job.folder}/mux-%h"]
    null = subprocess.DEVNULL
    masters = [
        subprocess.Popen([*base, "-o", "ControlMaster=yes", "-N", h[1]], stdin=null, stdout=null, stderr=null)
        for h in job.hosts
    ]
    for host in job.hosts:
        wait_for(lambda host=host: Path(f"{job.folder}/mux-{host[1]}").exists())

    def poll(number: int, host: tuple[str, str, int]) -> None:
        due = time.perf_counter() + number / len(job.hosts)
        while not over.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            done = subprocess.run([*base, host[1], CAT], stdin=null, stdout=subprocess.PIPE, stderr=null, check=False)
            if b"MemTotal" in done.stdout:
                count.one(host[0])
            due = max(due + 1.0, time.perf_counter())

    for number, host in enumerate(job.hosts):
        threading.Thread(target=poll, args=(number, host), daemon=True).start()
    found = window(job, count, lambda: len(count.first) >= len(job.hosts))
    over.set()
    for master in masters:
        master.kill()
    return found


def clush(job: Job) -> dict[str, float]:
    """ClusterShell with one ssh process a host; the host streams."""
    count = Count()
    listing = Path(f"{job.folder}/clush-hosts")
    listing.write_text("\n".join(h[1] for h in job.hosts))
    command = ["clush", "--hostfile", str(listing), "-f", str(len(job.hosts)), "-o", f"-F {job.folder}/ssh_config"]
    process = subprocess.Popen([*command, job.emit], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            count.one(line.partition(b":")[0].decode())

    threading.Thread(target=read, daemon=True).start()
    found = window(job, count, lambda: len(count.first) >= len(job.hosts))
    process.kill()
    return found


def ansible(job: Job) -> dict[str, float]:
    """Ansible's raw module over persistent OpenSSH masters, run again and again."""
    folder = Path(job.folder)
    inventory = folder / "inventory"
    inventory.write_text("[all]\n" + "\n".join(h[1] for h in job.hosts) + "\n")
    settings = {
        "ANSIBLE_SSH_ARGS": f"-F {folder}/ssh_config -o ControlMaster=auto -o ControlPersist=120",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{folder}/cp", "ANSIBLE_LOCAL_TEMP": f"{folder}/ansible",
        "HOME": str(folder), "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    }  # fmt: skip
    program = Path(sys.executable).with_name("ansible")
    command = [str(program) if program.exists() else "ansible", "all", "-i", str(inventory), "-f", "50"]

    def once() -> int:
        done = subprocess.run(
            [*command, "-m", "raw", "-a", CAT], env={**os.environ, **settings},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        return done.stdout.count(b"MemTotal:")

    once()
    cpu, at = tree_cpu(), time.perf_counter()
    samples = once()
    cpu, seconds = tree_cpu() - cpu, time.perf_counter() - at
    return {
        "us_per_sample": cpu / max(samples, 1) * 1e6,
        "cpu_percent": cpu / seconds * 100,
        "of_due_percent": samples / seconds / len(job.hosts) * 100,
        "rss_mb": resident(),
    }


def ours(job: Job) -> dict[str, float]:
    """The product's own transport, sampler and decoder on uvloop, as the daemon runs them."""
    from benchmarks.observing import observe  # noqa: PLC0415 - not for the peers

    return observe(job)


def wait_for(condition: Callable[[], bool], patience: float = 60.0) -> None:
    """Poll until it holds. Raises TimeoutError."""
    deadline = time.perf_counter() + patience
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError("a peer did not get ready")
        time.sleep(0.02)


KINDS: Final[dict[str, Callable[[Job], dict[str, float]]]] = {
    "ours": ours, "paramiko": paramiko, "parallel-ssh": parallel_ssh,
    "ControlMaster": control_master, "clush": clush, "ansible": ansible,
}  # fmt: skip


def run(kind: str, job: Job) -> dict[str, float]:
    """One client in a process of its own. Raises RuntimeError with what it said when it fails."""
    import msgspec  # noqa: PLC0415 - only the caller encodes

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.clients", kind], input=msgspec.json.encode(job),
        capture_output=True, check=False, timeout=400 + 2 * job.seconds,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{kind} failed: {done.stderr.decode(errors='replace')[-1500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Do the job of standard input."""
    import msgspec  # noqa: PLC0415 - only this decodes

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    found = KINDS[sys.argv[1]](job)
    print(json.dumps(found), flush=True)
    # Threads and helpers of peers end with us.
    os._exit(0)


if __name__ == "__main__":
    main()

__all__ = ["CAT", "Count", "Job", "run", "tree_cpu", "wait_for"]
