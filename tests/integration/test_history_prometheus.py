"""A real Prometheus with days of past and a real node exporter: what was put in comes out."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sidestep.autopilot.prometheus import PrometheusError
from sidestep.autopilot.source_prometheus import PrometheusSource

DEADLINE = 60.0
STEP = 300
DAYS = 2


@dataclass
class Prometheus:
    url: str
    #: first and last second of the made past
    begin: int
    end: int
    exporter: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def cores(instance: int, moment: float) -> float:
    """Busy cores of a made host: a day's wave."""
    return 1.0 + instance + math.sin(2 * math.pi * moment / 86400)


def past(begin: int, end: int) -> str:
    """OpenMetrics of two hosts, a sample a minute; counters that begin at 0 once in between."""
    lines = ["# TYPE node_cpu_seconds counter"]
    times = range(begin, end + 1, 60)
    for instance in (0, 1):
        label = f'instance="10.0.0.{instance + 1}:9100",job="node"'
        total = 0.0
        for moment in times:
            total = 0.0 if moment == begin + 86400 else total + 60 * cores(instance, moment - 30)
            lines.append(f'node_cpu_seconds_total{{{label},cpu="0",mode="user"}} {total} {moment}')
        lines += [f'node_cpu_seconds_total{{{label},cpu="0",mode="idle"}} {m - begin} {m}' for m in times]
        lines += [f'node_cpu_seconds_total{{{label},cpu="0",mode="iowait"}} {m - begin} {m}' for m in times]
    for metric, value in (("MemTotal", 8e9), ("MemAvailable", 5e9)):
        lines.append(f"# TYPE node_memory_{metric}_bytes gauge")
        for instance in (0, 1):
            label = f'instance="10.0.0.{instance + 1}:9100",job="node"'
            lines += [f"node_memory_{metric}_bytes{{{label}}} {value} {m}" for m in times]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    programs = [shutil.which(name) for name in ("prometheus", "promtool", "prometheus-node-exporter")]
    if not all(programs):
        reason = "Prometheus is not installed (Debian: apt install prometheus prometheus-node-exporter)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    server, tool, exporter = map(str, programs)
    folder = tmp_path_factory.mktemp("prometheus")
    end = int(time.time()) // 3600 * 3600 - 4 * 3600
    begin = end - DAYS * 86400
    (folder / "past").write_text(past(begin, end))
    subprocess.run([tool, "tsdb", "create-blocks-from", "openmetrics", folder / "past", folder / "data"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    ports = free_port(), free_port()
    (folder / "prometheus.yml").write_text(
        json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]},
            ],
        })
    )  # fmt: skip
    log = (folder / "log").open("wb")
    children = [
        subprocess.Popen([exporter, f"--web.listen-address=127.0.0.1:{ports[1]}"], stdout=log, stderr=log),
        subprocess.Popen(
            [server, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{ports[0]}", "--storage.tsdb.retention.time=30d"],
            stdout=log, stderr=log,
        ),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{ports[0]}"

    def scraped() -> bool:
        try:
            query = f"{url}/api/v1/query?query=count_over_time(node_load1[1m])"
            with urllib.request.urlopen(query, timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
                return bool(found) and float(found[0]["value"][1]) >= 3
        except OSError:
            return False

    try:
        wait(scraped)
        yield Prometheus(url, begin, end, ports[1])
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.wait()
        log.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(
        '[fleet]\nname = "test"\n[hosts.h1]\naddress = "10.0.0.1"\n[hosts.h2]\naddress = "10.0.0.2"\n'
        '[hosts.here]\naddress = "127.0.0.1"\n'
    )
    return path


def history(fleet: Path, command: str, *arguments: str, status: int = 0) -> str:
    """Run a history command; what it wrote to both outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "sidestep.autopilot.history", command, "--fleet", str(fleet),
         "--state", str(fleet.parent / "state"), *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_days_of_a_real_server_come_out_as_they_were_put_in(prometheus: Prometheus, fleet: Path) -> None:
    """S1.3, and the export of what was imported."""
    said = history(fleet, "import", "--prometheus", prometheus.url, "--days", "3", "--step", f"{STEP}s")
    assert "hours of" in said
    out = fleet.parent / "out.parquet"
    history(fleet, "export", str(out), "--metric", "cpu", "--metric", "memory")
    rows = pq.read_table(out).to_pylist()
    cpu = {(r["name"], int(r["time"].timestamp())): r["mean"] for r in rows if r["metric"] == "cpu"}
    compared = 0
    for instance, host in enumerate(("h1", "h2")):
        for moment in range(prometheus.begin + STEP, prometheus.end - STEP, 60):
            begin = moment // STEP * STEP
            truth = np.mean([cores(instance, begin + second) for second in range(0, STEP, 60)])
            reset = prometheus.begin + 86400
            if not begin - STEP <= reset <= begin + 2 * STEP:
                assert cpu[host, moment] == pytest.approx(truth, rel=0.01, abs=0.005), (host, moment)
                compared += 1
            else:
                assert 0 <= cpu[host, moment] < 1.3 * truth + 0.005, "a counter's reset is no peak and not negative"
    assert compared > 2 * (DAYS * 1440 - 60)
    memory = {r["mean"] for r in rows if r["metric"] == "memory" and r["name"] in ("h1", "h2")}
    assert memory == {3e9}
    assert {r["kind"] for r in rows} == {"host"}


def test_a_real_node_exporter_is_understood(prometheus: Prometheus, fleet: Path) -> None:
    """The minute that runs is not whole yet: what the server knows of this machine is asked for directly."""
    script = (
        "import sys, time\n"
        "from sidestep.autopilot.history_prometheus import QUERIES, Server\n"
        "server = Server(sys.argv[1], 30)\n"
        "now = time.time()\n"
        "for metric, query in QUERIES.items():\n"
        "    found = dict(server.range(query.format(w='30s'), now, now, 60))\n"
        "    points = found.get('127.0.0.1:' + sys.argv[2])\n"
        "    print(metric, points[0][1] if points else 'none')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, prometheus.url, str(prometheus.exporter)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = dict(line.split() for line in done.stdout.splitlines())
    assert 0 < float(found["cpu"]) <= (os.cpu_count() or 1) * 1.1
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < float(found["memory"]) < total
    if Path("/proc/pressure/cpu").exists() and found["pressure_cpu"] != "none":
        assert 0 <= float(found["pressure_cpu"]) <= 101


def test_what_the_server_says_of_shards_now_is_a_source_of_metrics(prometheus: Prometheus) -> None:
    """X2: by one query for each column; a shard of which it says nothing is left out."""
    local = f'node_memory_MemTotal_bytes{{instance="127.0.0.1:{prometheus.exporter}"}}'
    shard = f'label_replace({local}, "shard", "shop-01", "", "")'
    params = {"url": prometheus.url, "requests": shard, "latency_p95": f"{shard} * 0 + 0.25"}
    found = PrometheusSource(params, "").read(("shop-01", "shop-02"))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert set(found) == {"shop-01"}
    assert found["shop-01"].requests == pytest.approx(total, rel=0.01)
    assert found["shop-01"].latency_p95 == 0.25 and math.isnan(found["shop-01"].latency_p50)
    with pytest.raises(PrometheusError, match="/api/v1/query: HTTP status 400"):
        PrometheusSource({**params, "requests": "sum("}, "").read(("shop-01",))


def test_instances_are_hosts_by_the_map(prometheus: Prometheus, fleet: Path) -> None:
    fleet.write_text('[fleet]\nname = "test"\n[hosts.left]\naddress = "left.example"\n')
    said = history(fleet, "import", "--prometheus", prometheus.url, "--days", "1", status=2)
    assert "10.0.0.1:9100" in said and "--map" in said and "knows nothing of: left" in said
    table = fleet.parent / "map"
    table.write_text("# instance host\n10.0.0.1 left\n")
    history(fleet, "import", "--prometheus", prometheus.url, "--days", "1", "--step", "5m", "--map", str(table))
    assert json.loads(history(fleet, "info", "--json"))["series"] >= 1
    table.write_text("10.0.0.1 right\n")
    said = history(fleet, "import", "--prometheus", prometheus.url, "--map", str(table), status=2)
    assert f"{table}:1" in said and "remedy" in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--prometheus", "http://127.0.0.1:1"], 1, ["http://127.0.0.1:1/api/v1/query_range", "refused", "query: sum"]),
        (["--prometheus", "URL/nowhere"], 1, ["HTTP status 404", "query: sum by", "remedy"]),
        (["--prometheus", "URL", "--step", "7m"], 2, ["--step 7m"]),
        (["--prometheus", "file:///etc/passwd"], 2, ["not an address"]),
        (["--prometheus", "http://me:word@127.0.0.1:1"], 2, ["no place in a URL"]),
        (["--prometheus", "URL", "--token", "hunter2"], 2, ["never the secret"]),
        ([], 2, ["name one source"]),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_with_its_remedy(
    prometheus: Prometheus, fleet: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    given = [each.replace("URL", prometheus.url) for each in arguments]
    said = history(fleet, "import", *given, status=status)
    for word in words:
        assert word in said
    assert "hunter2" not in said
