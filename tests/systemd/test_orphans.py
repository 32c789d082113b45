"""A controller that dies leaves nothing running on any host."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from real_hosts import Control, RealHost, sessions

CLIENT = Path(__file__).with_name("follow_all.py")


def test_no_sampler_outlives_a_killed_controller_by_a_second(hosts: dict[str, RealHost], fleet: Control) -> None:
    """On every layout and with every kind of sampler, counted on the hosts."""
    some = next(iter(hosts.values()))
    pairs = [f"{host.name}={host.address}" for host in hosts.values()]
    argv = [sys.executable, str(CLIENT), str(some.known_hosts), str(some.identity), *pairs]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        try:
            assert client.stdout.readline() == "all speak\n"
            running = {name: sessions(fleet, name) for name in hosts}
            assert all(len(found) >= 2 for found in running.values()), running
        finally:
            client.kill()
            killed = time.monotonic()
    # A second for the hosts to end them, and no more than that is waited before the first look.
    time.sleep(max(0.0, killed + 1.0 - time.monotonic()))
    left = {name: found for name in hosts if (found := sessions(fleet, name))}
    assert left == {}
