"""The past of hosts from a Prometheus server that scrapes node exporters.

Reads ``/api/v1/query_range`` in pieces below the server's limit of points. Every value is a
mean over the step that ends at its time, so it is written to all the minutes of that step;
its maximum is not known apart from it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Final

import numpy as np

from sidestep.autopilot import history_parquet as parquet
from sidestep.autopilot.history_parquet import Hour, Report
from sidestep.autopilot.history_segments import HOUR, MINUTE
from sidestep.autopilot.prometheus import PrometheusError, Server, bearer, checked_url
from sidestep.backends.secret import secret
from sidestep.fleet.errors import UsageError
from sidestep.fleet.history import Series
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import parse_seconds

#: the server answers with at most 11,000 points a series
POINTS: Final = 10_000
#: disks and cards that stand for no other: no partitions, nothing stacked
_DISKS: Final = 'device!~"(dm-|md|loop|ram|zram|sr|fd).*|(sd|vd|xvd|hd)[a-z]+[0-9]+|(nvme|mmcblk).*p[0-9]+"'
_CARDS: Final = 'device!~"lo|(veth|docker|br-|virbr|cni|flannel|cali|tun|tap|dummy|bond|team).*|.*[.:].*"'

#: metric of ours, and the query that gives its mean over ``{w}`` by instance
QUERIES: Final[Mapping[str, str]] = {
    "cpu": 'sum by (instance) (rate(node_cpu_seconds_total{{mode!~"idle|iowait|steal"}}[{w}]))',
    "memory": "max by (instance) (avg_over_time(node_memory_MemTotal_bytes[{w}])"
    " - avg_over_time(node_memory_MemAvailable_bytes[{w}]))",
    "read_ops": f"sum by (instance) (rate(node_disk_reads_completed_total{{{{{_DISKS}}}}}[{{w}}]))",
    "write_ops": f"sum by (instance) (rate(node_disk_writes_completed_total{{{{{_DISKS}}}}}[{{w}}]))",
    "net_rx": f"sum by (instance) (rate(node_network_receive_bytes_total{{{{{_CARDS}}}}}[{{w}}]))",
    "net_tx": f"sum by (instance) (rate(node_network_transmit_bytes_total{{{{{_CARDS}}}}}[{{w}}]))",
    "pressure_cpu": "100 * max by (instance) (rate(node_pressure_cpu_waiting_seconds_total[{w}]))",
    "pressure_memory": "100 * max by (instance) (rate(node_pressure_memory_waiting_seconds_total[{w}]))",
    "pressure_io": "100 * max by (instance) (rate(node_pressure_io_waiting_seconds_total[{w}]))",
}


def hours(fleet: FleetSpec, options: argparse.Namespace, now: float, report: Report) -> Iterator[tuple[int, Hour]]:
    """The hours of the last ``--days``, oldest first. Raises PrometheusError, UsageError."""
    server = server_of(options)
    step = _step(options.step)
    match = Matcher(fleet, options.map)
    end = now // step * step
    begin = max(end - options.days * 86400, now - fleet.history.keep) // HOUR * HOUR
    # whole hours in pieces, so that every hour is written once
    piece = max(HOUR, min(86400.0, POINTS * step) // HOUR * HOUR)
    silent = set(QUERIES)
    while begin < end:
        upto = min(begin + piece, end)
        found: dict[str, Any] = {}
        for metric, query in QUERIES.items():
            rows = server.range(query.format(w=f"{step:.0f}s"), begin + step, upto, step)
            if rows:
                silent.discard(metric)
            for instance, points in rows:
                host = match.host(instance)
                if host:
                    found[str(Series("host", host, metric))] = points
        yield from _spread(found, begin, step)
        begin = upto
    if len(silent) == len(QUERIES):
        raise PrometheusError(
            f"{server.url} has no node exporter's metrics in that time, or fewer than two samples a step",
            hint="raise --step to at least twice the scrape interval, or name the server that scrapes the hosts",
        )
    if silent:
        report(f"the server has nothing for: {', '.join(sorted(silent))}")
    match.tell(report)


def _spread(found: Mapping[str, list[tuple[float, float]]], begin: float, step: float) -> Iterator[tuple[int, Hour]]:
    """Values at the ends of steps onto the minutes that they are means of, by hour."""
    names = tuple(found)
    by_hour: dict[int, Any] = {}
    wide = int(step // MINUTE)
    for column, name in enumerate(names):
        points = np.array(found[name], dtype=np.float64).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        minutes = (np.round((points[:, 0] - step) / MINUTE).astype(np.int64)[:, None] + np.arange(wide)).reshape(-1)
        values = np.repeat(points[:, 1], wide).astype(np.float32)
        for hour in np.unique(minutes // 60).tolist():
            block = by_hour.setdefault(hour, parquet.empty(hour, len(names)))
            here = minutes // 60 == hour
            rows = minutes[here] - hour * 60
            block.mean[rows, column] = block.high[rows, column] = values[here]
            block.count[rows, column] = int(MINUTE)
    for hour in sorted(by_hour):
        yield hour, (names, by_hour[hour])


class Matcher:
    """Which host of the fleet an instance is: by the map, by name, by address; with or without its port."""

    def __init__(self, fleet: FleetSpec, path: Path | None) -> None:
        """Raises UsageError for a map that cannot be used."""
        self._known = {str(host.name): str(host.name) for host in fleet.hosts}
        addresses = dict[str, list[str]]()
        for host in fleet.hosts:
            addresses.setdefault(host.address, []).append(host.name)
        # an address that several hosts share says nothing
        self._addresses: dict[str, str] = {address: names[0] for address, names in addresses.items() if len(names) == 1}
        self._map = _read_map(path, self._known.keys()) if path else {}
        self._unknown = set[str]()
        self._found: dict[str, str] = {}

    def host(self, instance: str) -> str:
        """The host's name, "" for none. Raises UsageError if two instances are one host."""
        bare = re.sub(r":\d+$", "", instance).strip("[]")
        found = ""
        for name in (instance, bare):
            found = found or self._map.get(name) or self._known.get(name) or self._addresses.get(name) or ""
        found = found or self._known.get(bare.partition(".")[0], "")
        if not found:
            self._unknown.add(scrub(instance))
        elif self._found.setdefault(found, instance) != instance:
            both = f"{scrub(instance)} and {scrub(self._found[found])}"
            raise UsageError(f"{both} are both host {found}", hint="say which with --map FILE: lines INSTANCE HOST")
        return found

    def tell(self, report: Report) -> None:
        """Say which instances are no hosts, and which hosts have no instance."""
        if self._unknown:
            report(f"no host of the fleet: {_some(self._unknown)} (--map FILE names them: lines INSTANCE HOST)")
        lacking = self._known.keys() - self._found.keys()
        if lacking:
            report(f"the server knows nothing of: {_some(lacking)}")


def _some(names: Set[str]) -> str:
    shown = sorted(names)[:10]
    return ", ".join(shown) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _read_map(path: Path, hosts: Set[str]) -> dict[str, str]:
    found = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in hosts:
            raise UsageError(
                f"{path}:{number}: {scrub(line)!r} does not name an instance and a host of the fleet",
                hint="write lines INSTANCE HOST, such as 10.0.0.7:9100 web01",
            )
        found[words[0]] = words[1]
    return found


def _step(text: str) -> float:
    try:
        step = parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"--step {text}: {error}") from None
    if step < MINUTE or step > HOUR or HOUR % step:
        raise UsageError(f"--step {text}: hours cannot be made of it", hint="write 60s, 2m, 5m, 10m, 15m, 30m or 1h")
    return step


def server_of(options: argparse.Namespace) -> Server:
    """The server as the options name it. Raises UsageError."""
    token = bearer(secret(options.token, "--token"), "--token")
    return Server(checked_url(options.prometheus), options.timeout, token)
