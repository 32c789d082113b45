"""``sidestep demo --functions``: what becomes of a running function, told from end to end on hosts of this machine.

Real SSH, real Dask workers, TLS, capsules and kills; the hosts are processes. Every claim is checked against the plain
call before it is printed: exit code 0 when all hold, 1 when one does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.functions.agents import Site
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Block, Conductor, Wishes
from sidestep.backends.functions.moving import move
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import SidestepError

#: a function, arguments, and what it returns for them
Plainly = tuple[str, tuple[int, ...], Any]
HOSTS: Final = 3
EVERY: Final = 1.0
_PATIENCE: Final = 60.0
PROGRAM: Final = '''
def orbit(steps):
    """A body around another one, step by step: every step needs the one before."""
    x, y, vx, vy, turns = 1.0, 0.0, 0.0, 1.0, 0
    for _ in range(steps):
        r = (x * x + y * y) ** 1.5
        vx -= x / r * 0.001
        vy -= y / r * 0.001
        before = y
        x += vx * 0.001
        y += vy * 0.001
        turns += before < 0.0 <= y
    return turns, x, y


def walks(seeds, steps):
    """Where walks end that know nothing of each other."""
    ends = []
    for seed in range(seeds):
        state, at = seed, 0
        for _ in range(steps):
            state = (state * 1103515245 + 12345) % 2147483648
            at += 1 if state > 1073741824 else -1
        ends.append(at)
    return ends
'''


@dataclass(frozen=True)
class Said:
    """One line of the story: seconds since it began, the words, and whether what they claim is so."""

    at: float
    words: str
    holds: bool = True


class Story:
    """Tells, and keeps what was told."""

    def __init__(self, aloud: bool) -> None:
        self._aloud, self._began = aloud, time.monotonic()
        self.lines: list[Said] = []

    def say(self, words: str, holds: bool = True) -> None:
        """One more line."""
        self.lines.append(Said(round(time.monotonic() - self._began, 2), words, holds))
        if self._aloud:
            print(f"{self.lines[-1].at:6.1f} s  {'' if holds else 'NOT SO: '}{words}", flush=True)

    @property
    def holds(self) -> bool:
        """Whether everything that was claimed is so."""
        return all(line.holds for line in self.lines)


def plain(seconds: float) -> tuple[Plainly, ...]:
    """Both calls, so large that they take about so many seconds of a core here; with what they return."""
    made: dict[str, Any] = {}
    exec(compile(PROGRAM, "story", "exec"), made)  # noqa: S102 - the text above
    found = []
    for name, small, scaled, share in (("orbit", (20_000,), (1,), 1.0), ("walks", (40, 500), (0, 1), 0.7)):
        began = time.thread_time()
        made[name](*small)
        times = max(1, int(share * seconds / max(time.thread_time() - began, 1e-6)))
        args = tuple(one * times if by else one for one, by in zip(small, scaled, strict=True))
        found.append((name, args, made[name](*args)))
    return tuple(found)


async def tell(story: Story, seconds: float) -> None:
    """The story. Raises SidestepError."""
    alone, cut = await asyncio.to_thread(plain, seconds)
    story.say(f"two functions were called here, for some {seconds:g} s of a core each: that is what has to come out")
    with tempfile.TemporaryDirectory(prefix="sidestep-demo-") as name:
        folder = Path(name)
        program = folder / "story.py"
        program.write_text(PROGRAM)
        async with (
            EmbeddedFleet(folder / "fleet", hosts=HOSTS) as fleet,
            Cluster(_sites(fleet), log=folder / "runner.log") as cluster,
        ):
            story.say(f"workers run on {', '.join(cluster.workers)}, over SSH and bound to it, with TLS between them")
            conductor = Conductor(cluster)
            await _stopped_anywhere(story, conductor, fleet, program, alone)
            await _in_shards(story, conductor, program, cut)


def _sites(fleet: EmbeddedFleet) -> list[Site]:
    keys, found = HostKeys.load(fleet.known_hosts), []
    for spec in fleet.hosts:
        target = plain_target(spec, identity=str(fleet.identity), connect_timeout=30)
        found.append(Site(str(spec.name), spec.address, AsyncsshTransport(target, keys), sys.executable))
    return found


async def _stopped_anywhere(
    story: Story, conductor: Conductor, fleet: EmbeddedFleet, program: Path, plainly: Plainly
) -> None:
    name, args, value = plainly
    running = asyncio.create_task(
        conductor.call(call_in(program, name, args, {}), Wishes(shard=False, every=EVERY))
    )  # fmt: skip
    try:
        await _moved_and_lost(story, conductor, fleet)
        finished = await running
    finally:
        running.cancel()
    found = value_of(finished)
    story.say(f"{name} returned on {finished.host}, bit for bit as here: {found}", found == value)
    loss = finished.losses[-1]
    lost = f"{loss.work:.2f} s of work and {loss.recovery:.2f} s until it computed again"
    story.say(f"the loss cost {lost}; at most {EVERY:g} s of work was promised", loss.work <= EVERY)


async def _in_shards(story: Story, conductor: Conductor, program: Path, plainly: Plainly) -> None:
    name, args, value = plainly
    finished = await conductor.call(call_in(program, name, args, {}), Wishes())
    how = "as shards on the hosts that are left" if finished.outcome.sharded else "where it was, which was faster"
    story.say(f"{name}, whose turns know nothing of each other, ran {how}: the same list", value_of(finished) == value)


async def _moved_and_lost(story: Story, conductor: Conductor, fleet: EmbeddedFleet) -> None:
    """One move, and the kill of the host that it led to."""
    block = await _until(lambda: next(iter(conductor.blocks.values()), None), "the block")
    source: str = await _until(lambda: next(iter(block.at.values()), ""), "an execution")
    # Not the scheduler's host: that is lost at another price.
    spare = [host for host in conductor.cluster.workers if host not in {source, fleet.names[0]}]
    moved = await move(conductor, block.name, spare[0])
    story.say(
        f"{block.call.function} moved from {moved.source} to {moved.target} while it ran: it stood for "
        f"{moved.pause * 1e3:.0f} ms, {moved.last} bytes went meanwhile, token {moved.token} is the one that counts"
    )
    await _until(lambda: _kept(block, moved.token), "a capsule on another host")
    story.say(f"a capsule of it is on {', '.join(sorted(block.saved.holders if block.saved else ()))}")
    await fleet.kill(moved.target)
    story.say(f"{moved.target} was killed")
    there: str = await _until(lambda: next((h for h in block.at.values() if h != moved.target), ""), "another host")
    story.say(f"it goes on on {there}, from that capsule")


def _kept(block: Block, token: int) -> bool:
    """Whether another host has a capsule that this execution made."""
    return block.saved is not None and block.saved.header.token == token and len(block.saved.holders) > 1


async def _until(found: Callable[[], Any], what: str) -> Any:
    """Wait for something. Raises SidestepError when it does not come."""
    until = time.monotonic() + _PATIENCE
    while not (value := found()):
        if time.monotonic() > until:
            raise SidestepError(f"never came: {what}")
        await asyncio.sleep(0.02)
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="sidestep demo --functions", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of a core that each function takes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    story = Story(aloud=not options.json)
    try:
        asyncio.run(tell(story, options.seconds))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        lines = [{"at": line.at, "words": line.words, "holds": line.holds} for line in story.lines]
        print(json.dumps({"holds": story.holds, "story": lines}, indent=2))
    return 0 if story.holds else 1


if __name__ == "__main__":
    sys.exit(main())
