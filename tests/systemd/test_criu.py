"""Processes that move with their memory between real hosts, and the reason where they cannot."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import moving
import pytest
from moving import BEFORE_COMMIT, STEPS, Pair, ask, shard_spec
from real_hosts import Control, RealHost
from test_process_queue import Queue

from scripts.testfleet import criu
from scripts.testfleet.shell import Impossible
from sidestep.backends.process import ProcessBackend
from sidestep.backends.process.able import ability
from sidestep.backends.systemd import SystemdBackend
from sidestep.fleet.errors import HostError, HostIncapable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.machines import PlanState, ShardState, StepName

Connect = Callable[..., Awaitable[Any]]
FOLDER = Path(".local/state/sidestep/test/tally.0")
PORT = 7400
#: what it has counted is in its memory alone, and it listens on every address
TALLY = "ADDRESS=0.0.0.0 exec python3 -I -S /srv/tally.py"


async def put(transport: Any, path: str, content: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    await transport.send(path, chunks())


@pytest.fixture(scope="session")
def packed() -> bytes:
    """Skipped, loudly, where Debian's packages cannot be had; an error in CI."""
    try:
        return criu.archive()
    except Impossible as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NO CRIU: {error}")


@pytest.fixture
async def pair(
    hosts: dict[str, RealHost], connect: Connect, fleet: Control, packed: bytes, request: Any
) -> AsyncIterator[Pair]:
    """h1 (hybrid) and h3 (unified) with a criu for this kernel; no shard is left when the test ends."""
    names = ("h1", "h3")
    backend = getattr(request, "param", SystemdBackend)("test")
    program = Path(moving.__file__).with_name("tally.py").read_bytes()
    ends = [await connect(hosts[name]) for name in names]
    for transport in ends:
        await put(transport, "/srv/tally.py", program)
        if await said(transport, f"test -x {criu.COMMAND} && echo there") != "there":
            await put(transport, "/srv/criu.tar", packed)
            await transport.run("tar -C / -xzf /srv/criu.tar && rm /srv/criu.tar")
    addresses = (hosts[names[0]].address, hosts[names[1]].address)
    yield Pair(backend, *ends, FOLDER, FOLDER, PORT, {}, *addresses)
    for transport in ends:
        await backend.stop(transport, tally(), 1 << 40)
        await transport.run("rm -rf .local/state/sidestep /srv/tally.py")


def tally(start: str = f"{TALLY} serve", **changes: Any) -> ShardSpec:
    return shard_spec("criu", PORT, start=start, ready="exec python3 -I -S /srv/tally.py ready", **changes)


def back(pair: Pair) -> Pair:
    """The same two hosts the other way round."""
    return Pair(
        pair.backend, pair.destination, pair.source, FOLDER, FOLDER, PORT, {},
        pair.destination_address, pair.source_address,
    )  # fmt: skip


async def said(transport: Any, command: str) -> str:
    return (await transport.run(command)).stdout.decode().strip()


async def shards(transport: Any) -> list[str]:
    """The state of every process of the program on a host."""
    found = await said(transport, "grep -lx python3 /proc/[0-9]*/comm | sed 's/comm/stat/' | xargs -r cut -d ' ' -f 3")
    return found.split()


@pytest.mark.parametrize("pair", [SystemdBackend, ProcessBackend], indirect=True, ids=["unit", "group"])
async def test_a_process_goes_on_at_the_destination_and_back_with_its_memory(pair: Pair) -> None:
    """S3.19-S3.22: what it had counted is in its memory alone. On the way back every step is done twice."""
    helped = tally(f"(while sleep 0.05; do echo . >>helper; done) & {TALLY} serve")
    await pair.start(helped)
    assert await pair.at_source("add 41") == "41"
    for way, token in ((pair, 8), (back(pair), 9)):
        who = await way.at_source("who")
        beats = int(
            await said(way.source, f"cd {FOLDER}/state; until [ -s helper ]; do sleep 0.02; done; wc -l <helper")
        )
        move = way.move(helped, key=f"move-{token}", old_token=token - 1, new_token=token)
        for name in STEPS:
            if name is StepName.RESUME:
                assert await shards(way.source) == ["T"] and await shards(way.destination) == ["T"], "none serves"
            for _ in range(token - 7):
                await way.step(name, move)
        assert await shards(way.source) == []
        assert await way.at_destination("who") == who, "the same process, as it knows itself"
        assert int(await way.at_destination("add")) == 34 + token
        (seen,) = await way.backend.discover(way.destination)
        assert (seen.state, seen.token) == (ShardState.RUNNING, token)
        assert await way.backend.discover(way.source) == ()
        assert int(await said(way.destination, f"wc -l <{FOLDER}/state/helper")) >= beats, "its children came along"
    assert await said(pair.source, f"ls {FOLDER}/memory {FOLDER}/capsule.* 2>/dev/null") == ""


async def test_until_the_commit_a_move_can_be_taken_back_and_the_source_serves_with_its_memory(pair: Pair) -> None:
    """Also where its process was killed once its memory had been written."""
    await pair.start(tally())
    for number, last in enumerate((StepName.PREPARE, StepName.CAPTURE, StepName.RESTORE, StepName.VERIFY)):
        move = pair.move(tally(), key=f"move-{number}", new_token=8 + number)
        pair.notes.clear()
        done = BEFORE_COMMIT[: BEFORE_COMMIT.index(last) + 1]
        for name in done:
            await pair.step(name, move)
        if last is StepName.VERIFY:
            await pair.source.run("pkill -KILL -x python3")
        for name in reversed(done):
            await pair.abort(name, move)
        assert await pair.at_source("add") == str(number + 1), last
        assert await shards(pair.destination) == []
    assert await said(pair.destination, f"ls {FOLDER}/memory {FOLDER}/state {FOLDER}/capsule.* 2>/dev/null") == ""


async def test_what_dies_at_the_destination_before_it_served_is_brought_back_again(pair: Pair) -> None:
    await pair.start(tally())
    assert await pair.at_source("add 5") == "5"
    move = pair.move(tally())
    for name in BEFORE_COMMIT:
        await pair.step(name, move)
    await pair.destination.run("pkill -KILL -x python3")
    await pair.step(StepName.RESUME, move)
    assert await pair.at_destination("add") == "6"
    await pair.destination.run("pkill -KILL -x python3")
    with pytest.raises(HostError, match="died after it had served"):
        await pair.step(StepName.RESUME, move)


async def test_a_connection_is_closed_by_the_move_and_the_service_goes_on(pair: Pair) -> None:
    """It waits for what this client says, and does not wait for ever."""
    await pair.start(tally())
    assert await pair.at_source("add 5") == "5"
    reader, writer = await asyncio.open_connection(pair.source_address, PORT)
    try:
        for name in STEPS:
            await pair.step(name, pair.move(tally()))
        assert await reader.read() == b""
    except ConnectionResetError:
        pass  # as good
    finally:
        writer.close()
    assert await pair.at_destination("add") == "6"


async def refused(pair: Pair, spec: ShardSpec, **changes: Any) -> HostIncapable:
    """Why the move does not begin; the shard serves on."""
    count = int(await pair.at_source("add"))
    move = pair.move(spec, **changes)
    with pytest.raises(HostIncapable) as caught:
        await pair.step(StepName.PREPARE, move)
    await pair.abort(StepName.PREPARE, move)
    assert int(await pair.at_source("add")) == count + 1
    return caught.value


@pytest.mark.parametrize(
    ("start", "there", "code", "names"),
    [
        (f"exec 7</srv/more; {TALLY} serve", "echo other >/srv/more", "CRIU_FILES", "/srv/more is another one here"),
        (f"exec 7</srv/more; {TALLY} serve", "rm -f /srv/more", "CRIU_FILES", "/srv/more is not here"),
        ("exec python3 -I -S /srv/tally.py serve", "true", "CRIU_ADDRESS", "listens at address 198.18.0.10"),
        (
            f"{TALLY} serve",
            f"ADDRESS=0.0.0.0 PORT={PORT} setsid -f python3 /srv/tally.py serve",
            "CRIU_PORT",
            str(PORT),
        ),
    ],
    ids=["file", "no-file", "address", "port"],
)
async def test_what_would_not_go_on_there_is_refused_by_name_before_anything_stands_still(
    pair: Pair, start: str, there: str, code: str, names: str
) -> None:
    """The code, the host, the command that shows it, and the remedy."""
    await pair.source.run("echo ours >/srv/more")
    await pair.start(tally(start))
    await pair.destination.run(f"{there} </dev/null >/dev/null 2>&1")
    try:
        error = await refused(pair, tally(start))
        assert (error.code, error.host) == (code, "h3") and names in str(error)
        assert error.command and error.hint
    finally:
        await pair.destination.run("pkill -KILL -x python3; rm -f /srv/more")


async def test_a_process_of_another_driver_is_restarted_before_it_moves(pair: Pair) -> None:
    await pair.start(shard_spec("restart", PORT, TALLY))
    error = await refused(pair, tally())
    assert (error.code, error.host) == ("CRIU_NAMESPACE", "h1")


async def test_a_host_that_may_not_set_clocks_cannot_and_says_so(pair: Pair) -> None:
    """Such as every host of the test fleet, without the script that keeps criu from doing it."""
    await pair.destination.run(f"sed -i '/timens/d' {criu.COMMAND}")
    try:
        found = await ability(pair.destination)
    finally:
        await pair.destination.run(f"rm {criu.COMMAND}")  # is put there anew
    assert found.code == "CRIU_PRIVILEGE" and "not permitted" in found.text
    assert (found.criu[:2], found.sockets) == ("4.", False)
    assert (await ability(pair.source)).code == ""


async def test_what_criu_itself_refuses_is_told_in_its_words_and_the_source_serves(pair: Pair) -> None:
    """Such as a connection to another process of the host, which would not be there."""
    speaks = (
        "import runpy, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/systemd/journal/stdout'); "
        "sys.argv[1:] = ['serve']; runpy.run_path('/srv/tally.py', run_name='__main__')"
    )
    spec = tally(f'ADDRESS=0.0.0.0 exec python3 -I -S -c "{speaks}"')
    await pair.start(spec)
    assert await pair.at_source("add 3") == "3"
    move = pair.move(spec)
    done = STEPS[: STEPS.index(StepName.CAPTURE)]
    for name in done:
        await pair.step(name, move)
    with pytest.raises(HostIncapable, match=r"CRIU_REFUSED: no image can be made: .*unix"):
        await pair.step(StepName.CAPTURE, move)
    assert await shards(pair.source) == ["T"], "it stands still until the move is taken back"
    for name in (StepName.CAPTURE, *reversed(done)):
        await pair.abort(name, move)
    assert await pair.at_source("add") == "4"


async def test_hosts_without_criu_say_so(pair: Pair) -> None:
    await pair.start(tally())
    await pair.destination.run(f"mv {criu.COMMAND} /srv/criu")
    try:
        error = await refused(pair, tally())
    finally:
        await pair.destination.run(f"mv /srv/criu {criu.COMMAND}")
    assert (error.code, error.host, error.command) == ("CRIU_MISSING", "h3", "criu --version")
    assert "apt install criu" in error.hint and str(error).startswith(
        "h3: prepare: CRIU_MISSING: there is no criu here"
    )


async def test_by_a_plan_it_gives_way_with_its_memory_and_comes_back_elsewhere(pair: Pair, tmp_path: Path) -> None:
    """S5.10, S5.19: through executor and journal, with a capsule that waits in between."""
    queue = Queue(pair, tmp_path, "criu", tally())
    await pair.start(tally())
    assert await pair.at_source("add 41") == "41"
    status = await queue.run("preempt", "a", "")
    assert status.state is PlanState.SUCCEEDED, status.note
    assert await shards(pair.source) == []
    status = await queue.run("place", "", "b")
    assert status.state is PlanState.SUCCEEDED, status.note
    assert await ask(pair.destination_address, PORT, "add") == "42"


async def test_a_plan_that_a_host_cannot_carry_out_says_so_and_the_source_serves(pair: Pair, tmp_path: Path) -> None:
    queue = Queue(pair, tmp_path, "criu", tally())
    await pair.start(tally())
    await pair.destination.run(f"rm {criu.COMMAND}")  # is put there anew
    status = await queue.run("migrate", "a", "b")
    assert status.state is PlanState.FAILED
    told = str(status.actions)
    assert "CRIU_MISSING: there is no criu here; command: criu --version; remedy: install criu there" in told, told
    assert await pair.at_source("add") == "1"
