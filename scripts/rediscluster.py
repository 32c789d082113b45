"""A real Redis Cluster on this machine, for tests, benchmarks and trying things out; nothing is left of it.

    python -m scripts.rediscluster [--masters 3] [--replicas 1]    # says the addresses, runs until it is interrupted

Nodes are Debian's redis-server on ports of their own of 127.0.0.1, without persistence, in a folder that is
removed at the end. Valkey's server can be named instead (``--server valkey-server``).
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLOTS = 16384
#: where Debian puts the server, which is not on everybody's path
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass
class Server:
    """One node: its port, its process, and how it was started."""

    port: int
    folder: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; a node that ran before remembers its cluster."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)

    def kill(self) -> None:
        """``kill -9``."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Cluster:
    """Masters first, then their replicas in the same order."""

    servers: list[Server] = field(default_factory=list)
    masters: int = 3

    @property
    def addresses(self) -> list[str]:
        """``HOST:PORT`` of every node."""
        return [f"127.0.0.1:{server.port}" for server in self.servers]

    def ask(self, index: int, *words: str | int | bytes, password: str = "") -> Any:
        """One command to one node over a connection of its own; errors are raised."""
        import redis  # noqa: PLC0415

        with redis.Redis(port=self.servers[index].port, password=password or None, socket_timeout=10) as client:
            connection = client.connection_pool.get_connection()
            connection.send_command(*words)
            return connection.read_response()

    def text(self, index: int, *words: str | int, password: str = "") -> str:
        """The same, as text."""
        answer = self.ask(index, *words, password=password)
        return answer.decode() if isinstance(answer, bytes) else str(answer)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, and whose bus ports (10000 above) are free as well."""
    found: list[int] = []
    held: list[socket.socket] = []
    while len(found) < count:
        one, bus = socket.socket(), socket.socket()
        held += [one, bus]
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
        try:
            bus.bind(("127.0.0.1", port + 10000))
        except (OSError, OverflowError):
            continue
        found.append(port)
    for each in held:
        each.close()
    return found


def _until(what: str, seconds: float, check: Any) -> None:
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} took more than {seconds:g} s")
        time.sleep(0.02)


@contextmanager
def running(
    masters: int = 3, replicas: int = 0, *, server: str = "redis-server", timeout: int = 2000,
    options: Sequence[str] = (), password: str = "", shares: Sequence[int] = (),
) -> Iterator[Cluster]:  # fmt: skip
    """A cluster whose slots are divided evenly, or by ``shares`` (slots of each master), and its end."""
    program = shutil.which(server, path=PATH)
    if program is None:
        raise FileNotFoundError(f"{server} is not installed: apt-get install redis-server")
    folder = Path(tempfile.mkdtemp(prefix="sidestep-redis-"))
    cluster = Cluster(masters=masters)
    try:
        for port in free_ports(masters * (1 + replicas)):
            place = folder / str(port)
            place.mkdir()
            config = place / "redis.conf"
            secret = [f"requirepass {password}", f"masterauth {password}"] if password else []
            config.write_text("\n".join([*secret, ""]))
            config.chmod(0o600)
            words = [
                "--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-node-timeout",
                str(timeout), "--save", "", "--appendonly", "no", "--dir", str(place), "--repl-diskless-sync-delay",
                "0", "--cluster-allow-replica-migration", "no", *options,
            ]  # fmt: skip
            cluster.servers.append(Server(port, place, [program, str(config), *words]))
            cluster.servers[-1].start()
        _join(cluster, masters, shares, password)
        yield cluster
    finally:
        for each in cluster.servers:
            each.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _join(cluster: Cluster, masters: int, shares: Sequence[int], password: str) -> None:
    """Make one cluster of nodes that know nothing of each other."""

    def ask(index: int, *words: str | int) -> str:
        return cluster.text(index, *words, password=password)

    def up(index: int) -> bool:
        try:
            return ask(index, "PING") == "PONG"
        except OSError:
            return False
        except Exception as error:
            if type(error).__name__ not in {"ConnectionError", "BusyLoadingError"}:
                raise
            return False

    count = len(cluster.servers)
    for index in range(count):
        _until("starting a node", 20, lambda index=index: up(index))
    sizes = list(shares) or [SLOTS // masters + (at < SLOTS % masters) for at in range(masters)]
    begin = 0
    for index, size in enumerate(sizes):
        ask(index, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        if size:
            ask(index, "CLUSTER", "ADDSLOTSRANGE", begin, begin + size - 1)
        begin += size
    for index in range(1, count):
        ask(index, "CLUSTER", "MEET", "127.0.0.1", cluster.servers[0].port)

    def known(index: int) -> bool:
        told = ask(index, "CLUSTER", "NODES")
        return told.count("\n") == count and "handshake" not in told

    for index in range(count):
        _until("meeting", 20, lambda index=index: known(index))
    for index in range(masters, count):
        ask(index, "CLUSTER", "REPLICATE", ask(index % masters, "CLUSTER", "MYID"))
    for index in range(count):
        _until("joining", 20, lambda index=index: "cluster_state:ok" in ask(index, "CLUSTER", "INFO"))
    for index in range(count):
        _until("telling", 20, lambda index=index: ask(index, "CLUSTER", "NODES").count("slave") == count - masters)
    for index in range(masters, count):
        _until("copying", 20, lambda index=index: "master_link_status:up" in ask(index, "INFO", "replication"))


def main() -> None:
    """Run one until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m scripts.rediscluster", description=__doc__)
    parser.add_argument("--masters", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=1, help="of each master")
    parser.add_argument("--server", default="redis-server")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running(chosen.masters, chosen.replicas, server=chosen.server) as cluster:
        print("\n".join(cluster.addresses), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
