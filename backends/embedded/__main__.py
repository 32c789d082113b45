"""``python -m sidestep.backends.embedded --dir DIR``: hosts, load and a fleet file for a daemon.

Prints one JSON line when all is ready, then takes JSON lines such as ``{"kill": "h1"}``
(kill, cut, heal, revive), answering each, until standard input ends or a signal comes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from sidestep.backends.embedded.demo_fleet import demo_spec
from sidestep.backends.embedded.hosts import EmbeddedFleet
from sidestep.backends.embedded.lifetime import until_told
from sidestep.backends.embedded.scenario import scenario
from sidestep.backends.embedded.traffic import router_socket
from sidestep.fleet.config import dump_fleet
from sidestep.fleet.errors import SidestepError


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(prog="sidestep.backends.embedded")
    parser.add_argument("--dir", type=Path, required=True, help="folder that everything lives in")
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--endless", action="store_true", help="a surge after the other, for ever")
    return parser.parse_args()


def say(**facts: object) -> None:
    """One JSON line on standard output."""
    print(msgspec.json.encode(facts).decode(), flush=True)


async def obey(fleet: EmbeddedFleet, line: bytes) -> None:
    """Do what one line asks, and say whether it was done."""
    doers = {"kill": fleet.kill, "cut": fleet.cut, "heal": fleet.heal, "revive": fleet.revive}
    try:
        order = msgspec.json.decode(line, type=dict[str, str])
        for verb, host in order.items():
            if verb in doers:
                await doers[verb](host)
                say(done=verb, host=host)
            else:
                say(error=f"no such order: {verb}; kill, cut, heal or revive")
    except (SidestepError, msgspec.DecodeError) as error:
        say(error=str(error))


@contextlib.asynccontextmanager
async def traffic(folder: Path, options: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process of load and router; it ends with ours, and its log is ``traffic.log``."""
    with (folder / "traffic.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sidestep.backends.embedded.traffic", "--dir", str(folder), *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        if not await process.stdout.readline():
            raise SidestepError("the traffic does not start", hint=f"look at {folder / 'traffic.log'}")
        yield process
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def perform(given: argparse.Namespace) -> None:
    """Start everything, and keep it until told otherwise."""
    folder: Path = given.dir.resolve()
    plot = scenario(given.seed, given.hosts, given.shards)
    socket = router_socket(folder)
    options = ["--hosts", str(given.hosts), "--shards", str(given.shards), "--seed", str(given.seed)]
    options += ["--endless"] if given.endless else []
    async with EmbeddedFleet(folder, hosts=given.hosts, cpu=plot.capacity, seed=given.seed) as fleet:
        # the hosts have just booted: whatever an earlier run routed to is gone
        (folder / "router.table").unlink(missing_ok=True)
        spec = demo_spec(fleet, plot, folder)
        (folder / "fleet.toml").write_text(dump_fleet(spec), encoding="utf-8")
        async with traffic(folder, options) as process:
            say(ready=True, fleet=str(folder / "fleet.toml"), router=str(socket))
            told = asyncio.create_task(until_told(lambda line: obey(fleet, line)))
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if ended.done():
                raise SidestepError("the traffic has ended by itself", hint=f"look at {folder / 'traffic.log'}")
            ended.cancel()


def main() -> int:
    """Run; problems are told in one line, never as a traceback."""
    try:
        asyncio.run(perform(parse()))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
