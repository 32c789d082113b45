"""How long a fleet is without control when its daemon is restarted: 1,000 hosts and 20,000 shards in the journal.

The daemon is the real program, killed with SIGKILL and started again on the same state folder: its
journal has every shard's owner and endpoint, plans that ran, one that was under way when the last
daemon was killed, and the log of weeks. It has control again when its socket has answered with a
picture of the whole fleet, what becomes of the plan that was left is decided and in the log, and a
hold was taken. Hosts are still being connected then: no host answers here (nobody listens on their
ports), so that what is measured is the controller, and not a thousand handshakes; ``python -m
benchmarks.transport`` measures those. Once with the fleet file as the last daemon knew it, once with
a file that has to be parsed. The parts are measured as programs of their own beside it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import ChildClock, Goal, Report, Sample, interleave, main
from sidestep.autopilot.client import Client
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.protocol import EventList, GetLog, GetSnapshot, SnapshotFrame
from sidestep.autopilot.protocol_control import HoldAll, ReleaseHold
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState, StepName
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Basis, Plan, Reason

HOSTS, SHARDS, PLANS, EVENTS = 1000, 20_000, 200, 50_000
_PATIENCE = 120.0

IMPORTS = "import sidestep.autopilot.__main__"
FLEET = """
import sys
from pathlib import Path
from sidestep.autopilot.config_file import load_fleet
load_fleet(Path(sys.argv[1]))
"""
JOURNAL = """
import sys, time
from pathlib import Path
from sidestep.autopilot.journal import Journal
from sidestep.fleet.machines import PlanState
began = time.process_time(), time.perf_counter()
journal = Journal(Path(sys.argv[1]))
assert len(journal.placement().owners) and len(journal.endpoints())
journal.plans_in(PlanState.RUNNING), journal.plans_in(PlanState.APPROVED), journal.plans(200)
print(time.process_time() - began[0], time.perf_counter() - began[1])
"""


def fleet_file(folder: Path) -> Path:
    """The fleet: ranges of hosts, and a shard of each of 20 apps on every host."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lines = ["[fleet]", 'name = "restart"', "[ssh]", f'identity = "{key}"', "connect_timeout = 2"]
    lines += ["[oracle]", "enabled = false", "[history]", "enabled = false"]
    for part in range(HOSTS // 250):
        lines += [f'[hosts."h{part}-[1-250]"]', f'address = "127.9.{part}.[1-250]"', "port = 1"]
        lines += ["cpu = 16", 'memory = "64G"']
        for app in range(SHARDS // HOSTS):
            for host in range(1, 251):
                lines += [f"[shards.a{app}-{part}-{host}]", f'app = "a{app}"', f'host = "h{part}-{host}"']
                lines += ['start = "run"']
    path = folder / "fleet.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fill(path: Path, fleet: FleetSpec) -> None:
    """A journal of weeks: every owner and endpoint, plans that were approved and ran, and rows of the log."""
    journal = Journal(path)
    journal.adopt({shard.name: Owner(shard.host, 1) for shard in fleet.shards}, Label("autopilot"))
    with journal._transaction():  # one sync instead of thousands: only what is there in the end matters
        for shard in fleet.shards:
            journal.set_endpoint(shard.name, "127.9.0.1", 7000)
        for number in range(EVENTS):
            journal.record("host", f"h0-{number % 250 + 1}: connection lost; again in 2 s")
    for number in range(PLANS):
        shard, to = fleet.shards[number], fleet.hosts[-1 - number]
        action = Action(
            id=1, shard=shard.name, source=shard.host, destination=to.name, token=1, priority=2,
            reason=Reason("contention", Label(f"{shard.host} runs hot")),
        )  # fmt: skip
        plan = Plan(
            number=journal.next_number(), fleet=fleet.name, created=0.0, expires=300.0, author=Label("planner"),
            snapshot=1, forecast="f", policy=fleet.policy, basis=Basis((), ()), actions=(action,),
            summary=Label(f"move {shard.name}"),
        )  # fmt: skip
        with journal._transaction():
            digest = journal.add(plan).digest
            journal.set_state(digest, PlanState.APPROVED, actor=Label("operator"), reason="hot")
            journal.set_state(digest, PlanState.RUNNING, actor=Label("executor"))
            journal.begin_action(digest, 1)
            if number == PLANS - 1:  # left in the middle of its freeze
                journal.begin_step(digest, 1, StepName.FREEZE)
                break
            journal.set_action(digest, 1, ActionState.DONE)
            journal.set_state(digest, PlanState.SUCCEEDED, actor=Label("executor"))
    journal.close()


def program(*arguments: str) -> Sample:
    """CPU and wall seconds of a program run to its end."""
    with ChildClock() as clock:
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return {"cpu_s": clock.cpu, "wall_s": clock.wall}


def journal_part(path: Path) -> Sample:
    """The same of reading the journal alone, by its own clocks."""
    done = subprocess.run([sys.executable, "-c", JOURNAL, str(path)], stdout=subprocess.PIPE, text=True, check=True)
    cpu, wall = map(float, done.stdout.split())
    return {"cpu_s": cpu, "wall_s": wall}


def restart(file: Path, folder: Path, *, parse: bool = False) -> Sample:
    """Start the daemon, see, hold and release the fleet, kill it; seconds from exec to the last answer.

    ``parse`` throws the parsed fleet away that the last daemon kept.
    """
    socket, cache = folder / "d.sock", folder / "cache"
    if parse:
        shutil.rmtree(cache, ignore_errors=True)
    command = [sys.executable, "-m", "sidestep.autopilot", "--fleet", str(file), "--socket", str(socket)]
    with (folder / "daemon.log").open("ab") as log:
        began = time.perf_counter()
        daemon = subprocess.Popen(
            [*command, "--state", str(folder / "state")],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        )
        try:
            with _connected(socket, daemon, folder / "daemon.log") as client:
                frame = client.call(GetSnapshot())
                said = client.call(GetLog(since=-20, limit=20))
                client.call(HoldAll(reason="look first"))
                wall = time.perf_counter() - began
                assert isinstance(frame, SnapshotFrame) and isinstance(said, EventList)
                assert (len(frame.hosts), len(frame.shards)) == (HOSTS, SHARDS)
                assert any("taking back freeze" in event.text for event in said.events)
                assert (folder / "state" / "hold").exists()
                ticks = Path(f"/proc/{daemon.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
                client.call(ReleaseHold(reason="seen"))
        finally:
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
    return {"cpu_s": sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), "wall_s": wall}


def _connected(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> Client:
    """A connection, as soon as somebody answers there. Raises RuntimeError with the end of the log."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            return Client.connect(socket, timeout=_PATIENCE)
        except SidestepError:
            time.sleep(0.005)
    raise RuntimeError(log.read_text(encoding="utf-8")[-2000:])


def run(quick: bool) -> Report:
    """Restarts, and their parts in the same turns."""
    runs = 2 if quick else 7
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "state").mkdir(mode=0o700)
        file, journal = fleet_file(folder), folder / "state" / "journal.db"
        fill(journal, load_fleet(file))
        size = journal.stat().st_size / 1e6
        restart(file, folder)  # parses, and keeps what it parsed
        figures = interleave(
            {
                "daemon": lambda: restart(file, folder),
                "daemon, fleet file changed": lambda: restart(file, folder, parse=True),
                "imports": lambda: program("-c", IMPORTS),
                "fleet file and imports": lambda: program("-c", FLEET, str(file)),
                "journal": lambda: journal_part(journal),
            },
            runs,
        )
    daemon, part = figures["daemon"], figures["journal"]
    parts = {name: figures[name]["cpu_s"].median for name in ("imports", "fleet file and imports", "journal")}
    goals = (
        Goal("restart to control regained", daemon["wall_s"].median, "s", 2.0, "<"),
        Goal(
            "the same with a fleet file to parse", figures["daemon, fleet file changed"]["wall_s"].median, "s", 3.0, "<"
        ),
        Goal("CPU until then", daemon["cpu_s"].median, "s", 2.0, "<", parts),
        Goal("opening, checking and reading the journal", part["wall_s"].median, "s", 0.5, "<"),
    )
    notes = (
        f"{HOSTS} hosts, {SHARDS} shards, {PLANS} plans, {EVENTS} rows of the log, journal of {size:.0f} MB",
        "control: a picture of the whole fleet, the left plan's way decided, a hold taken; hosts still connect",
        "no host answers",
    )
    return Report("restart", goals, figures, runs, quick, notes)


if __name__ == "__main__":
    main("restart", run)
