"""A panel with a clock in hand, and the lines that hosts say to it."""

from __future__ import annotations

from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST, HOST_COLUMNS, SHARD_COLUMNS

HELLO = b"H2 42 6.1.0-amd64 100 python 0123abcd\n"
NOW = 1_700_000_000.0


def schema(*shards: str) -> bytes:
    return b"K %d %d %s\n" % (len(HOST_COLUMNS), len(SHARD_COLUMNS), ",".join(shards).encode() or b"-")


def shard(**known: float | str) -> dict[str, float | str]:
    return {"pid": 11, "token": 7, "running": 1, "memory": 400, **known}


def line(seq: int, at_ms: int, *shards: dict[str, float | str], **host: float | str) -> bytes:
    tokens = [str(host.get(name, "-")) for name, _ in HOST_COLUMNS]
    for one in shards:
        tokens += [str(one.get(name, "-")) for name, _ in SHARD_COLUMNS]
    return f"V {seq} {at_ms} {' '.join(tokens)}\n".encode()


class Bench:
    """A panel with a clock in hand."""

    def __init__(self, hosts: int = 1) -> None:
        self.time = 50.0
        self.panel = Panel([f"h{row}" for row in range(hosts)], clock=lambda: self.time)

    def greeted(self, row: int = 0, *shards: str, boot: str = "0123abcd") -> Intake:
        intake = self.panel.intake(row)
        intake.data(HELLO.replace(b"0123abcd", boot.encode()) + schema(*shards))
        return intake

    def take(self, intake: Intake, *lines: bytes) -> None:
        """Every line is decoded by itself, and good."""
        for one in lines:
            intake.data(one)
            assert self.panel.decode(NOW) == ()

    def rate(self, name: str, row: int = 0) -> float:
        return float(self.panel.rates[row, HOST[name]])
