"""Watching hosts over SSH once a second: what the console's side of it costs.

The curve runs the product's own watching (connections, samplers' streams, decoding) against
embedded hosts that stream records of the real size; what the floor is, recv and AES-GCM of
the same bytes, is measured in the same turns. Peers get the same job against real OpenSSH
servers, in turns with ours: those that can stream do, the others poll as often as they can.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import Any, Final

from benchmarks import clients
from benchmarks.clients import Job
from benchmarks.farm import farm
from benchmarks.floor import floor_us
from benchmarks.harness import Goal, Report, Sample, Spread, main

CURVE: Final = (100, 300, 1000, 3000, 10000)
#: turns with the peers, of whom the slow ones take a minute each
TURNS: Final = 2
#: sizes above are measured once: connecting to so many takes minutes
OFTEN: Final = 1000
PEERS: Final = ("paramiko", "parallel-ssh", "ControlMaster", "clush", "ansible")
#: a record of a host without shards, as the sampler prints it
SAMPLE_BYTES: Final = 330
_EMIT: Final = "import time\nwhile 1:\n time.sleep(1); print('V 1 1 '+'123456789 '*{n},flush=True)"


@contextmanager
def streams(hosts: int, shards: int = 0) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Embedded streaming hosts for as long as the block lasts; their folder, and who is told ``rate``."""
    with tempfile.TemporaryDirectory(prefix="ss-streams-") as folder:
        command = [sys.executable, "-m", "benchmarks.streams", "--hosts", str(hosts), "--dir", folder]
        process = subprocess.Popen(
            [*command, "--shards", str(shards)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdin is not None
        try:
            if json.loads(process.stdout.readline() or "{}").get("state") != "up":
                raise RuntimeError("the streaming hosts do not start")
            yield Path(folder), process
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def ask(process: subprocess.Popen[str], word: str) -> dict[str, Any]:
    """Tell the streaming hosts a word; their answer."""
    assert process.stdout is not None and process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return dict(json.loads(process.stdout.readline()))


def watched(hosts: int, seconds: float, shards: int = 0) -> Sample:
    """One run of ours against so many embedded hosts."""
    with streams(hosts, shards) as (folder, process):
        listed = json.loads((folder / "hosts.json").read_text())
        job = Job(
            hosts=[(h["name"], h["address"], h["port"]) for h in listed],
            user=listed[0]["user"], folder=str(folder), seconds=seconds,
        )  # fmt: skip
        ask(process, "rate")
        found = clients.run("ours", job)
        rate = ask(process, "rate")
    # The hosts are one or a few processes of their own on the same cores: what they could not send is theirs.
    return {**found, "hosts_sent_percent": rate["achieved"] * 100}


def curve(sizes: tuple[int, ...], seconds: float, runs: int) -> dict[str, dict[str, Spread]]:
    """Ours and the floor in turns, at every size."""
    seen: dict[str, dict[str, list[float]]] = {}
    for turn in range(runs):
        for size in sizes:
            if turn and size > OFTEN:
                continue
            found = dict(watched(size, seconds))
            found["floor_us"], found["paced_floor_us"], found["whole_floor_us"] = floor_us(size, SAMPLE_BYTES)
            found["times_floor"] = found["us_per_sample"] / found["floor_us"]
            found["times_paced_floor"] = found["us_per_sample"] / found["paced_floor_us"]
            found["times_whole_floor"] = found["us_per_sample"] / found["whole_floor_us"]
            found["whole_floor_times_paced"] = found["whole_floor_us"] / found["paced_floor_us"]
            for key, value in found.items():
                seen.setdefault(f"ours, {size} embedded hosts", {}).setdefault(key, []).append(value)
    return {name: {key: Spread.of(values) for key, values in rows.items()} for name, rows in seen.items()}


def beside_peers(count: int, seconds: float, runs: int, kinds: tuple[str, ...], notes: list[str]) -> dict[str, Any]:
    """Ours and the peers in turns against real servers."""
    seen: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="ss-farm-") as folder, farm(count, Path(folder)) as servers:
        emit = Path(folder) / "emit.py"
        emit.write_text(_EMIT.format(n=SAMPLE_BYTES // 10))
        job = Job(
            hosts=[(str(h.name), h.address, h.port) for h in servers.hosts], user=getuser(), folder=folder,
            seconds=seconds, emit=f"exec python3 -SE {emit}",
        )  # fmt: skip
        for _ in range(runs):
            for kind in ("ours", *kinds):
                try:
                    found = clients.run(kind, job)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    notes.append(f"{kind} gave no figure: {str(error)[-300:]}")
                    continue
                for key, value in found.items():
                    seen.setdefault(f"{kind}, {count} sshd", {}).setdefault(key, []).append(value)
    return {name: {key: Spread.of(values) for key, values in rows.items()} for name, rows in seen.items()}


def run(quick: bool) -> Report:
    """1,000 hosts once a second, the curve, and peers at 100 real servers."""
    notes: list[str] = []
    sizes, seconds, runs = ((100, 300), 4.0, 1) if quick else (CURVE, 10.0, 3)
    count, kinds = (20, ("paramiko",)) if quick else (100, PEERS)
    figures = curve(sizes, seconds, runs)
    peers = beside_peers(count, seconds, min(runs, TURNS), kinds, notes)
    figures |= peers
    shown = 1000 if 1000 in sizes else sizes[-1]
    ours = figures[f"ours, {shown} embedded hosts"]
    goals = [
        Goal(f"CPU, {shown} hosts at 1 Hz with decode", ours["cpu_percent"].median, "% of a core", 10, "<="),
        Goal(f"memory, {shown} hosts", ours["rss_mb"].median, "MB", 100, "<="),
        Goal(f"first sample of 99 % of {shown} hosts", ours["first_99_s"].median, "s", 10, "<="),
        Goal(
            f"a sample against recv + AES-GCM in a tight loop, {shown} hosts",
            ours["times_floor"].median,
            "times",
            4,
            "<=",
        ),
        Goal(
            f"a sample against recv + AES-GCM at the pace of samples, {shown} hosts",
            ours["times_paced_floor"].median,
            "times",
            4,
            "<=",
            {"the same duty in the least code": ours["whole_floor_times_paced"].median},
        ),
    ]
    theirs = {k.partition(",")[0]: v["us_per_sample"].median for k, v in peers.items() if not k.startswith("ours")}
    mine = peers.get(f"ours, {count} sshd")
    if theirs and mine:
        best = min(theirs.values())
        goals.append(
            Goal(f"CPU against the best peer at {count} sshd", best / mine["us_per_sample"].median, "times less", 20,
                 ">=", peers={name: value / mine["us_per_sample"].median for name, value in theirs.items()})
        )  # fmt: skip
    if quick:
        notes.append("quick: fewer hosts and peers, one short run")
    sent = statistics.median(rows["hosts_sent_percent"].median for n, rows in figures.items() if "embedded" in n)
    notes.append(f"embedded hosts sent {sent:.0f} % of what was due (median of the sizes); they share the cores")
    return Report("transport", tuple(goals), figures, runs, quick, tuple(notes))


if __name__ == "__main__":
    main("transport", run)
