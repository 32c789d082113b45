"""S3.1, S3.2, S3.8-S3.10, S3.19-S3.24: shards as systemd units on real hosts of both cgroup layouts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import moving
import pytest
from moving import STEPS, Pair, ask, shard_spec
from msgspec.structs import replace
from real_hosts import Control, RealHost

from sidestep.backends.base import Lease, Sizes
from sidestep.backends.process import leases
from sidestep.backends.systemd import SystemdBackend
from sidestep.backends.systemd.adopt import adopt, survey
from sidestep.fleet.errors import HostError
from sidestep.fleet.machines import ShardState, StepName

Connect = Callable[..., Awaitable[Any]]
#: a helper that has left the process group: only its cgroup knows that it is the shard's
TALLY = "exec python3 -I -S /srv/tally.py"
HELPED = "setsid -f sh -c 'while sleep 0.05; do echo . >>helper; done'; " + TALLY
FOLDER = ".local/state/sidestep/test/tally.0"
PORT = 7400
UNIT = "sidestep:test:tally.0.service"
MEMORY = 64 << 20
KV = f"""[Service]
User=nobody
WorkingDirectory=/var/lib/kv
Environment=ADDRESS=0.0.0.0 PORT={PORT} STATE=/var/lib/kv SHARD=kv TOKEN=0
ExecStart=/usr/bin/python3 -I -S /srv/tally.py serve --files
Restart=always
[Install]
WantedBy=multi-user.target
"""


async def put(transport: Any, path: str, content: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    await transport.send(path, chunks())


@pytest.fixture
async def pair(hosts: dict[str, RealHost], connect: Connect, fleet: Control, request: Any) -> AsyncIterator[Pair]:
    """h1 (hybrid) and h3 (unified), or the other way round; no unit is left when the test ends."""
    names = getattr(request, "param", ("h1", "h3"))
    program = Path(moving.__file__).with_name("tally.py").read_bytes()
    ends = [await connect(hosts[name]) for name in names]
    for transport in ends:
        await put(transport, "/srv/tally.py", program)
        await transport.run("chmod 755 /srv; chmod 644 /srv/tally.py")
    addresses = (hosts[names[0]].address, hosts[names[1]].address)
    yield Pair(SystemdBackend("test"), *ends, Path(FOLDER), Path(FOLDER), PORT, {}, *addresses)  # type: ignore[arg-type]
    await asyncio.to_thread(fleet.restore)
    for name in names:
        transport = await connect(hosts[name])
        await SystemdBackend("test").stop(transport, shard_spec("restart", PORT, TALLY), 1 << 40)
        await transport.run("rm -rf .local/state/sidestep /srv/tally.py")


async def said(transport: Any, command: str) -> str:
    return (await transport.run(command)).stdout.decode().strip()


@pytest.mark.parametrize(
    ("pair", "driver"), [(("h1", "h3"), "hook"), (("h3", "h1"), "restart")], indirect=["pair"], ids=["hook", "restart"]
)
async def test_a_unit_moves_to_the_other_layout_with_its_state_and_all_its_processes(pair: Pair, driver: str) -> None:
    """S3.19-S3.22: it is frozen as a whole, also what has left its process group, and ends as a whole."""
    spec = shard_spec(driver, PORT, TALLY)
    spec = replace(spec, start=spec.start.replace(TALLY, HELPED))
    await pair.start(spec)
    assert await pair.at_source("add 41") == "41"
    move = pair.move(spec)
    for name in STEPS[: STEPS.index(StepName.TRANSFER)]:
        await pair.step(name, move)
    (frozen,) = await pair.backend.discover(pair.source)
    assert frozen.state is ShardState.FROZEN
    before = await said(pair.source, f"wc -c <{FOLDER}/state/helper")
    for name in STEPS[STEPS.index(StepName.TRANSFER) : STEPS.index(StepName.RELEASE)]:
        await pair.step(name, move)
    assert before == await said(pair.source, f"wc -c <{FOLDER}/state/helper")
    await pair.step(StepName.RELEASE, move)
    assert await pair.at_destination("add") == "42"
    (seen,) = await pair.backend.discover(pair.destination)
    assert (seen.state, seen.token) == (ShardState.RUNNING, 8) and await pair.backend.discover(pair.source) == ()
    assert "sidestep-test.slice/" in await said(pair.destination, f"cat {FOLDER}/unit")
    assert await said(pair.source, f"systemctl is-active '{UNIT}'; pgrep -f '[h]elper'") == "inactive"


async def test_a_unit_waits_for_the_word_of_resume_and_is_no_shard_before(pair: Pair) -> None:
    """S2.29: users do not wait for systemd; what is taken back leaves no unit, and what waits is in nobody's way."""
    spec = shard_spec("restart", PORT, TALLY)
    await pair.start(spec)
    assert await pair.at_source("add 41") == "41"
    leader = f"systemctl show -p MainPID --value '{UNIT}'"
    first, second = pair.move(spec, key="first"), pair.move(spec, key="second")
    before = STEPS[: STEPS.index(StepName.FREEZE)]
    for name in before:
        await pair.step(name, first)
    assert int(await said(pair.destination, leader)) > 0
    assert await pair.backend.discover(pair.destination) == ()
    for name in reversed(before):
        await pair.abort(name, first)
    assert await said(pair.destination, f"systemctl is-active '{UNIT}'") == "inactive"
    assert await said(pair.destination, f"ls {FOLDER}/warm {FOLDER}/go") == ""
    pair.notes.clear()
    for name in before:
        await pair.step(name, second)
    waiting = await said(pair.destination, leader)
    for name in STEPS[STEPS.index(StepName.FREEZE) :]:
        await pair.step(name, second)
    assert waiting == await said(pair.destination, leader)
    assert await pair.at_destination("add") == "42"
    (seen,) = await pair.backend.discover(pair.destination)
    assert (seen.pid, seen.token) == (int(waiting), 8)
    # The same where the one that waited has gone: resume starts another.
    pair.notes.clear()
    back = Pair(pair.backend, pair.destination, pair.source, pair.destination_dir, pair.source_dir, PORT, {},
                pair.destination_address, pair.source_address)  # fmt: skip
    third = back.move(spec, key="third", old_token=8, new_token=9)
    for name in STEPS[: STEPS.index(StepName.CAPTURE)]:
        await back.step(name, third)
    await said(pair.source, f"systemctl kill -s KILL '{UNIT}'")
    for name in STEPS[STEPS.index(StepName.CAPTURE) :]:
        await back.step(name, third)
    assert await back.at_destination("add") == "43"


async def test_limits_change_in_place_and_are_what_the_kernel_says(pair: Pair) -> None:
    """S3.2, S3.24: where the kernel cannot, that is said by name, and nothing pretends."""
    spec = shard_spec("restart", PORT, TALLY, limit_cpu=0.25, limit_memory=MEMORY)
    await pair.start(spec)
    backend: Any = pair.backend
    pid = (await pair.at_source("who")).split()[2]
    assert await backend.sizes(pair.source, spec, 7) == Sizes(cpu=0.25, memory=MEMORY)
    wanted = Sizes(cpu=0.5, memory=2 * MEMORY)  # the host itself may have no more
    assert await backend.resize(pair.source, spec, 7, wanted) == wanted
    quota = f"cat /sys/fs/cgroup/cpu/$(cut -d' ' -f3 {FOLDER}/unit)/cpu.cfs_quota_us"
    assert await said(pair.source, quota) == "50000"
    with pytest.raises(HostError, match=r"holds \d+ bytes of memory now"):
        await backend.resize(pair.source, spec, 7, Sizes(cpu=0.5, memory=1 << 20))
    assert await backend.resize(pair.source, spec, 7, Sizes()) == Sizes()
    with pytest.raises(HostError, match="token 7, not 6"):
        await backend.resize(pair.source, spec, 6, wanted)
    assert (await pair.at_source("who")).split()[2] == pid
    await backend.start(pair.destination, replace(spec, limit_cpu=0.0), 9, pair.destination_address)
    with pytest.raises(HostError, match="no cpu controller"):
        await backend.resize(pair.destination, spec, 9, wanted)


@pytest.fixture
async def disk(pair: Pair) -> AsyncIterator[str]:
    """The disk of its own that the source's shards lie on, as the kernel numbers it."""
    state = "$HOME/.local/state/sidestep"
    nodes = "mknod /dev/loop-control c 10 237; for n in $(seq 0 31); do mknod /dev/loop$n b 7 $n; done"
    made = f"mkdir -p {state}; truncate -s 16M /var/disk; mkfs.ext4 -q -F /var/disk; mount -o loop /var/disk {state}"
    await said(pair.source, f"({nodes}) 2>/dev/null; {made}")
    number = await said(pair.source, f"mountpoint -d {state}")
    assert number.startswith("7:")
    yield number
    await pair.backend.stop(pair.source, shard_spec("restart", PORT, TALLY), 1 << 40)
    await said(pair.source, f"umount {state}; rm -f /var/disk /dev/loop*")


async def test_limits_at_the_disk_change_in_place_and_are_what_the_kernel_says(pair: Pair, disk: str) -> None:
    """S3.2, S3.24."""
    spec = shard_spec("restart", PORT, TALLY, limit_cpu=0.25, limit_memory=MEMORY, limit_read=3 << 20)
    await pair.start(spec)
    backend: Any = pair.backend
    pid = (await pair.at_source("who")).split()[2]
    mine = Sizes(cpu=0.25, memory=MEMORY)
    assert await backend.sizes(pair.source, spec, 7) == replace(mine, read=3 << 20, write=0)
    group = f"/sys/fs/cgroup/blkio$(cut -d' ' -f3 {FOLDER}/unit)/blkio.throttle"
    wanted = replace(mine, read=2 << 20, write=5 << 20)
    assert await backend.resize(pair.source, spec, 7, wanted) == wanted
    assert await said(pair.source, f"cat {group}.read_bps_device") == f"{disk} {2 << 20}"
    assert await said(pair.source, f"cat {group}.write_bps_device") == f"{disk} {5 << 20}"
    kept = replace(wanted, cpu=0.5)
    assert await backend.resize(pair.source, spec, 7, replace(kept, read=None, write=None)) == kept
    assert await backend.resize(pair.source, spec, 7, replace(kept, read=0, write=None)) == replace(kept, read=0)
    assert await said(pair.source, f"cat {group}.read_bps_device") == ""
    assert (await pair.at_source("who")).split()[2] == pid


async def test_where_nothing_can_be_limited_at_the_disk_is_said_by_name_and_nothing_is_changed(pair: Pair) -> None:
    """Hosts like containers lie on no disk of their own; the other host's kernel has no such controller."""
    spec = shard_spec("restart", PORT, TALLY, limit_cpu=0.25, limit_memory=MEMORY)
    await pair.start(spec)
    backend: Any = pair.backend
    mine = Sizes(cpu=0.25, memory=MEMORY)
    assert await backend.sizes(pair.source, spec, 7) == mine
    with pytest.raises(HostError, match=r"is on no disk .* type overlay.*, as in a container"):
        await backend.resize(pair.source, spec, 7, replace(mine, cpu=0.5, read=1 << 20))
    assert await backend.sizes(pair.source, spec, 7) == mine
    assert await backend.resize(pair.source, spec, 7, replace(mine, read=0, write=0)) == mine
    bare = replace(spec, limit_cpu=0.0, limit_memory=0)
    await backend.start(pair.destination, bare, 9, pair.destination_address)
    with pytest.raises(HostError, match="no io controller"):
        await backend.resize(pair.destination, bare, 9, Sizes(write=1 << 20))


async def test_after_a_power_loss_no_unit_starts_by_itself_and_an_older_owner_is_fenced(
    pair: Pair, hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    spec = shard_spec("restart", PORT, TALLY)
    await pair.start(spec)
    assert await pair.at_source("add 9") == "9"
    await asyncio.to_thread(fleet.kill, "h1")
    await asyncio.to_thread(fleet.start, "h1")
    again = await connect(hosts["h1"])
    (after,) = await pair.backend.discover(again)
    assert (after.state, after.token) == (ShardState.FAILED, 7)
    assert await said(again, f"systemctl is-active '{UNIT}'") == "inactive"
    await pair.backend.stop(again, spec, 8)
    with pytest.raises(HostError, match="fenced: token 7"):
        await pair.backend.start(again, spec, 7, pair.source_address)
    await pair.backend.start(again, spec, 8, pair.source_address)
    assert await pair.at_source("get") == "9"


class OneLease:
    """A lease that is kept by hand."""

    def __init__(self, boot: str, by: int) -> None:
        self.lease = Lease(boot=boot, by=by)

    async def hold(self, host: str, shard: str) -> Lease:
        return self.lease


async def test_a_unit_ends_with_its_lease_and_all_of_it(pair: Pair) -> None:
    """S2.21: the guard knows what is the unit's, whatever groups it made."""
    spec = shard_spec("restart", PORT, TALLY, failover="restart", start=f"{HELPED} serve --files")

    async def renewed(until: int, boot: str = "-") -> leases.Ack:
        await put(pair.source, "/srv/lease.sh", leases.payload("test"))
        line = leases.line(1, boot, until, mark=[spec.name])
        done = await pair.source.run("exec sh /srv/lease.sh", stdin=line)
        return leases.parse(done.stdout.splitlines()[1])

    now = await renewed(0)
    held = await renewed(now.uptime + 30, now.boot)
    pair.backend.leases = OneLease(now.boot, held.until)
    await pair.start(spec)
    (seen,) = await pair.backend.discover(pair.source)
    lowered = f"echo '{now.boot} 1' >.local/state/sidestep/test/.lease/until"  # as if nobody had renewed it
    await pair.source.run(lowered)
    async with asyncio.timeout(60):
        while (await pair.backend.discover(pair.source))[0].state is ShardState.RUNNING:
            await asyncio.sleep(0.2)
    assert await said(pair.source, f"cut -d' ' -f1 {FOLDER}/expired; pgrep -f '[h]elper'") == str(seen.token)


@pytest.mark.parametrize("pair", [("h1", "h2")], indirect=True)
async def test_a_running_unit_is_taken_over_limited_and_moved(pair: Pair) -> None:
    """It is not restarted for it, and does not start by itself any more: neither by hand nor at boot."""
    spec = shard_spec("restart", PORT, TALLY, state_path="/var/lib/kv")
    try:
        for transport in (pair.source, pair.destination):
            await transport.run("mkdir -p /var/lib/kv && chown nobody /var/lib/kv")
        await put(pair.source, "/etc/systemd/system/kv.service", KV.encode())
        await pair.source.run("systemctl daemon-reload && systemctl enable --now kv.service")
        async with asyncio.timeout(60):
            while await said(pair.source, f"ss -Hltn sport = :{PORT}") == "":
                await asyncio.sleep(0.1)
        assert await pair.at_source("add 5") == "5"
        (kv,) = [unit for unit in await survey(pair.source) if unit.name == "kv.service"]
        assert kv.adoptable and kv.enabled == "enabled" and (kv.memory or 0) > 0
        given: Any = {
            "fleet": "test", "shard": spec.name, "unit": "kv.service", "address": pair.source_address,
            "port": PORT, "state_path": "/var/lib/kv",
        }  # fmt: skip
        taken = await adopt(pair.source, **given)
        assert taken == await adopt(pair.source, **given) and taken.pid == kv.pid
        assert "--reuid=nobody" in taken.start and taken.start.endswith("/srv/tally.py serve --files")
        assert "TOKEN" in taken.left[-1] and "198." not in taken.left[-1]
        backend: Any = pair.backend
        half = Sizes(cpu=0.5, memory=MEMORY)
        assert await backend.resize(pair.source, spec, 1, half) == half and await pair.at_source("get") == "5"
        with pytest.raises(HostError, match="part of the host itself"):
            await adopt(pair.source, **{**given, "unit": "ssh.service"})
        move = pair.move(spec, old_token=1, new_token=2)
        for name in STEPS:
            await pair.step(name, move)
        assert await pair.at_destination("add") == "6"
        await pair.source.run("systemctl start kv.service")
        assert await said(pair.source, "systemctl is-active kv.service") in {"inactive", "failed"}
    finally:
        for transport in (pair.source, pair.destination):
            await transport.run(
                "systemctl disable --now kv.service; rm -rf /etc/systemd/system/kv.service*"
                " /run/systemd/system.control/kv*;"
                " systemctl daemon-reload; systemctl reset-failed; rm -rf /var/lib/kv"
            )


async def test_a_user_has_units_of_his_own_if_they_outlive_his_logins(
    pair: Pair, hosts: dict[str, RealHost], connect: Connect
) -> None:
    """The right that is missing is named; limits that such a manager cannot set are refused."""
    made = "useradd -m -s /bin/sh ops; mkdir -p ~ops/.ssh; cp .ssh/authorized_keys ~ops/.ssh/; chown -R ops ~ops/.ssh"
    await pair.source.run(made)
    host = hosts["h1"]
    spec = shard_spec("restart", PORT, TALLY)
    backend: Any = SystemdBackend("test")
    user = host.transport()
    user = type(user)(replace(host.target(), user="ops"), user._keys)
    try:
        await user.connect()
        with pytest.raises(HostError, match="loginctl enable-linger ops"):
            await backend.start(user, spec, 7, host.address)
        await pair.source.run("loginctl enable-linger ops")
        await backend.start(user, spec, 7, host.address)
        assert await ask(host.address, PORT, "add 3") == "3"
        assert "/user@" in await said(user, f"cat {FOLDER}/unit")
        with pytest.raises(HostError, match="connect as root"):
            await backend.resize(user, spec, 7, Sizes(cpu=0.5))
        await backend.stop(user, spec, 8)
        assert await backend.discover(user) == ()
    finally:
        await user.aclose()
        await pair.source.run("loginctl disable-linger ops; loginctl terminate-user ops; sleep 1; userdel -rf ops")
