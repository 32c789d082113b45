"""What makes these hosts real: their own init, names, numbers and limits."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from real_hosts import Control, FleetError, RealHost


def test_systemd_is_the_first_process_and_every_unit_of_it_is_well(host: RealHost, fleet: Control) -> None:
    assert fleet.exec(host.name, "cat", "/proc/1/comm").strip() == "systemd"
    said = fleet.exec(host.name, "systemctl", "is-system-running", "--wait", timeout=60)
    assert said.strip() == "running", fleet.exec(host.name, "systemctl", "--failed")


def test_no_two_hosts_share_a_name_an_id_a_boot_or_a_key(hosts: dict[str, RealHost], fleet: Control) -> None:
    script = "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id; cut -d' ' -f2 /etc/ssh/ssh_host_*.pub"
    seen = {name: fleet.shell(name, script).split() for name in hosts}
    assert [words[0] for words in seen.values()] == list(hosts)
    for column in range(4):
        assert len({words[column] for words in seen.values()}) == len(hosts), column


def test_each_host_has_the_cgroup_layout_that_it_was_given(host: RealHost, fleet: Control) -> None:
    listed = fleet.exec(host.name, "ls", "/sys/fs/cgroup").split()
    assert ("cgroup.controllers" in listed) == (host.layout == "unified")
    assert ("unified" in listed) == ("memory" in listed) == (host.layout == "hybrid")


def test_a_host_sees_its_own_memory_and_load(host: RealHost, fleet: Control, needs_own_numbers: None) -> None:
    meminfo = dict(line.split(":") for line in fleet.exec(host.name, "cat", "/proc/meminfo").splitlines())
    total = int(meminfo["MemTotal"].split()[0]) * 1024
    if host.memory:
        assert total == host.memory
    uptime = float(fleet.exec(host.name, "cat", "/proc/uptime").split()[0])
    assert uptime < float(Path("/proc/uptime").read_text().split()[0])


def test_a_host_has_its_own_interpreters_and_none_better(host: RealHost, fleet: Control) -> None:
    script = "for word in python3 perl awk sh; do command -v $word >/dev/null && echo $word; done; exit 0"
    expected = {"python": "python3 perl awk sh", "perl": "perl awk sh", "awk": "awk sh", "sh": "sh"}
    assert fleet.shell(host.name, script).split() == expected[host.interpreter].split()


def test_a_host_has_no_way_out_and_no_hand_on_the_machine(host: RealHost, fleet: Control) -> None:
    routes = fleet.exec(host.name, "ip", "-4", "route").split("\n")
    assert [r.split()[0] for r in routes if r] == ["198.18.0.0/24"]
    with pytest.raises(FleetError, match="not permitted"):
        # To the time that it is anyway, should this ever be allowed.
        fleet.shell(host.name, "date -s @$(date +%s)")
    with pytest.raises(FleetError, match="Read-only"):
        fleet.shell(host.name, "echo 1 >/proc/sys/vm/swappiness")


async def test_a_squeezed_host_is_throttled_and_its_pressure_shows(layout_host: RealHost, fleet: Control) -> None:
    name = layout_host.name
    before = _stalled(fleet, name)
    fleet.limit(name, cpu=0.1)
    await asyncio.to_thread(fleet.shell, name, "timeout 3 sh -c 'while :; do :; done' || true")
    # With a tenth of a core it stood still for most of that; the kernel adds that up every other second.
    deadline = time.monotonic() + 10
    while _stalled(fleet, name) - before < 1.0:
        assert time.monotonic() < deadline, f"{_stalled(fleet, name) - before} s of pressure"
        await asyncio.sleep(0.1)
    if layout_host.layout == "hybrid":
        stat = dict(x.split() for x in fleet.exec(name, "cat", "/sys/fs/cgroup/cpu/cpu.stat").splitlines())
        assert int(stat["nr_throttled"]) > 0


def _stalled(fleet: Control, host: str) -> float:
    """Seconds that some task of the host has waited for a processor."""
    line = fleet.exec(host, "head", "-n1", "/proc/pressure/cpu")
    return int(line.rpartition("total=")[2]) / 1e6
