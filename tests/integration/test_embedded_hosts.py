"""The embedded fleet behaves as machines do: apart, killable, unreachable, and gone with their owner."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest

from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.embedded.host import GRACE
from sidestep.fleet.errors import SidestepError

pytestmark = pytest.mark.fleet


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[EmbeddedFleet]:
    async with EmbeddedFleet(tmp_path / "fleet", hosts=2) as running:
        yield running


def connect(fleet: EmbeddedFleet, name: str = "h1", **options: object) -> object:
    """A connection as a plain client makes it, with the fleet's key and host keys."""
    host = next(h for h in fleet.hosts if h.name == name)
    given = {
        "username": host.user,
        "client_keys": [str(fleet.identity)],
        "known_hosts": str(fleet.known_hosts),
        "config": None,
        "agent_path": None,
        "login_timeout": 10,
        **options,
    }
    return asyncssh.connect(host.address, host.port, **given)  # type: ignore[arg-type]


async def run(fleet: EmbeddedFleet, command: str, name: str = "h1", data: bytes = b"") -> asyncssh.SSHCompletedProcess:
    async with connect(fleet, name) as connection:  # type: ignore[attr-defined]
        return await connection.run(command, input=data, encoding=None)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def lines(fleet: EmbeddedFleet, name: str) -> list[str]:
    return [line for _, line in fleet.tree(name)]


def living(marker: str) -> list[int]:
    """Every process whose environment or command line names ``marker``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                zombie = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in text and not zombie:
                found.append(int(entry.name))
    return found


async def test_commands_run_in_the_environment_of_their_own_host(fleet: EmbeddedFleet) -> None:
    for name in ("h1", "h2"):
        out = (await run(fleet, "env; pwd", name)).stdout.decode().splitlines()
        home = str(fleet.folder / "hosts" / name)
        seen = dict(line.split("=", 1) for line in out if "=" in line)
        assert seen["HOME"] == home == out[-1]
        assert seen["SIDESTEP_HOST_TREE"] == str(fleet.server(name))
        assert seen["LANG"] == "C.UTF-8"
        assert set(seen) <= {"HOME", "PATH", "SIDESTEP_HOST_TREE", "LANG", "PWD", "SHLVL", "_", "OLDPWD"}


async def test_streams_carry_bytes_and_the_exit_status_comes_back(fleet: EmbeddedFleet) -> None:
    data = bytes(range(256)) * 4000
    done = await run(fleet, "cat; echo problem >&2; exit 7", data=data)
    assert done.stdout == data
    assert done.stderr == b"problem\n"
    assert done.exit_status == 7


async def test_the_signal_that_ended_a_command_is_reported(fleet: EmbeddedFleet) -> None:
    done = await run(fleet, "kill -TERM $$")
    assert done.exit_signal is not None
    assert done.exit_signal[0] == "TERM"


async def test_every_host_has_a_key_and_an_address_of_its_own(fleet: EmbeddedFleet) -> None:
    """host keys are verified, so each host must have its own."""
    known = fleet.known_hosts.read_text().split()
    assert len(set(known[0::3])) == len(set(known[2::3])) == 2
    assert len({h.address for h in fleet.hosts}) == 2
    swapped = asyncssh.import_known_hosts(
        "".join(f"{a} ssh-ed25519 {k}\n" for a, k in zip(known[0::3], reversed(known[2::3]), strict=True))
    )
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with connect(fleet, known_hosts=swapped):  # type: ignore[attr-defined]
            pass


async def test_a_foreign_key_or_user_is_refused(fleet: EmbeddedFleet) -> None:
    foreign = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        async with connect(fleet, client_keys=[foreign]):  # type: ignore[attr-defined]
            pass
    with pytest.raises(asyncssh.PermissionDenied):
        async with connect(fleet, username="root"):  # type: ignore[attr-defined]
            pass


async def test_private_files_are_private(fleet: EmbeddedFleet) -> None:
    for path in (fleet.identity, fleet.folder / "keys" / "h1_ed25519"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert fleet.folder.stat().st_mode & 0o777 == 0o700


async def test_what_is_started_on_a_host_stays_in_its_tree_however_it_detaches(fleet: EmbeddedFleet) -> None:
    await run(fleet, "setsid sh -c 'setsid sleep 611 & exit' >/dev/null 2>&1 </dev/null & exit 0")
    await until(lambda: "sleep 611" in lines(fleet, "h1"))
    assert "sleep 611" not in lines(fleet, "h2")


async def test_a_closed_channel_ends_its_command_but_not_what_detached(fleet: EmbeddedFleet) -> None:
    """the sampler dies with its connection, shards survive it."""
    async with connect(fleet) as connection:  # type: ignore[attr-defined]
        await connection.create_process(
            "setsid sleep 612 >/dev/null 2>&1 </dev/null & sleep 613 & trap '' TERM HUP; sleep 614", encoding=None
        )
        await until(lambda: {"sleep 612", "sleep 613", "sleep 614"} <= set(lines(fleet, "h1")))
    await until(lambda: lines(fleet, "h1") == ["sleep 612"], GRACE + 20)


async def test_a_command_sees_the_end_of_file_when_its_channel_closes(fleet: EmbeddedFleet) -> None:
    async with connect(fleet) as connection:  # type: ignore[attr-defined]
        await connection.create_process("cat >/dev/null; echo end > seen", encoding=None)
        await until(lambda: any("cat" in line for line in lines(fleet, "h1")))
    await until((fleet.folder / "hosts" / "h1" / "seen").exists)


async def test_a_killed_host_takes_everything_on_it_along_and_no_other(fleet: EmbeddedFleet) -> None:
    for name in ("h1", "h2"):
        await run(fleet, "setsid sleep 615 >/dev/null 2>&1 </dev/null &", name)
        await until(lambda name=name: "sleep 615" in lines(fleet, name))
    doomed = [pid for pid, _ in fleet.tree("h1")]
    await fleet.kill("h1")
    assert fleet.tree("h1") == []
    assert not any(Path("/proc", str(pid)).exists() for pid in doomed)
    with pytest.raises(ConnectionRefusedError):
        await run(fleet, "true")
    assert lines(fleet, "h2") == ["sleep 615"]


async def test_a_revived_host_keeps_its_key_and_disk_and_runs_nothing(fleet: EmbeddedFleet) -> None:
    await run(fleet, "echo kept > file; setsid sleep 616 >/dev/null 2>&1 </dev/null &")
    await fleet.kill("h1")
    await fleet.revive("h1")
    done = await run(fleet, "cat file")
    assert done.stdout == b"kept\n"
    assert lines(fleet, "h1") == []


async def test_a_cut_host_is_silent_until_it_is_healed_and_its_shards_run_on(fleet: EmbeddedFleet) -> None:
    await run(fleet, "setsid sh -c 'while :; do echo x >> beats; sleep 0.05; done' >/dev/null 2>&1 </dev/null &")
    beats = fleet.folder / "hosts" / "h1" / "beats"
    await until(beats.exists)
    async with connect(fleet) as connection:  # type: ignore[attr-defined]
        await fleet.cut("h1")
        running = asyncio.create_task(connection.run("echo hello"))
        arriving = asyncio.create_task(run(fleet, "echo late"))
        before = beats.stat().st_size
        await until(lambda: beats.stat().st_size > before + 10)
        assert not running.done()
        assert not arriving.done()
        assert (await run(fleet, "echo other", "h2")).stdout == b"other\n"
        await fleet.heal("h1")
        assert (await asyncio.wait_for(running, 20)).stdout == "hello\n"
        assert (await asyncio.wait_for(arriving, 20)).stdout == b"late\n"


async def test_a_cut_host_can_be_killed(fleet: EmbeddedFleet) -> None:
    await fleet.cut("h1")
    await fleet.kill("h1")
    with pytest.raises(SidestepError, match="h1 is dead"):
        await fleet.heal("h1")
    await fleet.revive("h1")
    assert (await run(fleet, "echo up")).stdout == b"up\n"


async def test_an_unknown_host_is_named(fleet: EmbeddedFleet) -> None:
    with pytest.raises(SidestepError, match="no host 'h9'"):
        await fleet.kill("h9")


async def test_two_fleets_run_at_once(fleet: EmbeddedFleet, tmp_path: Path) -> None:
    async with EmbeddedFleet(tmp_path / "other", names=["h1"]) as other:
        assert {h.address for h in other.hosts}.isdisjoint(h.address for h in fleet.hosts)
        assert (await run(other, "echo hi")).stdout == b"hi\n"


async def test_a_host_that_dies_by_itself_leaves_nothing(fleet: EmbeddedFleet) -> None:
    await run(fleet, "setsid sleep 617 >/dev/null 2>&1 </dev/null &")
    await until(lambda: lines(fleet, "h1") == ["sleep 617"])
    ((pid, _),) = fleet.tree("h1")
    os.kill(fleet.server("h1"), signal.SIGKILL)
    await until(lambda: not Path("/proc", str(pid)).exists())
    await fleet.revive("h1")
    assert (await run(fleet, "echo up")).stdout == b"up\n"


OWNER = """
import asyncio, sys
from pathlib import Path
from sidestep.backends.embedded import EmbeddedFleet

async def main():
    fleet = EmbeddedFleet(Path(sys.argv[1]), hosts=2)
    await fleet.start()
    if sys.argv[2] == "cut":
        await fleet.cut("h1")
    print(fleet._keeper.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def leave_something(folder: Path) -> None:
    """Start a process on h2 that outlives its connection."""
    address = (folder / "known_hosts").read_text().splitlines()[1].split("]")[0].lstrip("[")
    keys = {"client_keys": [str(folder / "id_ed25519")], "known_hosts": str(folder / "known_hosts")}
    async with asyncssh.connect(address, 2222, username="ops", config=None, agent_path=None, **keys) as connection:
        await connection.run("setsid sleep 618 >/dev/null 2>&1 </dev/null &")


@pytest.mark.parametrize("victim", ["owner", "keeper"])
@pytest.mark.parametrize("link", ["whole", "cut"])
def test_nothing_is_left_after_kill_minus_nine(tmp_path: Path, victim: str, link: str) -> None:
    folder = tmp_path / f"fleet-{victim}-{link}"
    command = [sys.executable, "-c", OWNER, str(folder), link]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        keeper = int(owner.stdout.readline())
        asyncio.run(leave_something(folder))
        assert len(living(str(folder))) >= 5
        os.kill(owner.pid if victim == "owner" else keeper, signal.SIGKILL)
        if victim == "keeper":
            owner_left = {owner.pid}
        else:
            owner.wait()
            owner_left = set()
        deadline = time.monotonic() + 20
        while set(living(str(folder))) - owner_left:
            assert time.monotonic() < deadline, living(str(folder))
            time.sleep(0.02)
        owner.kill()
