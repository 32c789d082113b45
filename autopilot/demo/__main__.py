"""``python -m sidestep.autopilot.demo``: the stage for a console, or the story without one."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from sidestep.autopilot.demo.stage import Stage
from sidestep.autopilot.demo.story import Story, Told
from sidestep.backends.embedded.scenario import scenario
from sidestep.fleet.errors import SidestepError


def parse() -> argparse.Namespace:
    """The arguments that ``sidestep demo`` hands on."""
    parser = argparse.ArgumentParser(prog="sidestep demo")
    parser.add_argument("--dir", type=Path, help="where the fleet lives; a temporary folder by default")
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def tell(arguments: argparse.Namespace, folder: Path) -> int:
    """Tell the story; 0 when a predicted contention was avoided by an approved plan."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    plot = scenario(seed=arguments.seed, hosts=arguments.hosts, shards=arguments.shards)
    story = Story(folder, hosts=arguments.hosts, shards=arguments.shards, seed=arguments.seed, until=plot.end, say=say)
    told = asyncio.run(story.tell())
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        conclude(told)
    return 0 if told.succeeded else 1


def conclude(told: Told) -> None:
    """Print the verdict for people."""
    lines = [
        f"outcome   without the plan {told.host} peaked at {told.peak_without:.0%} (measured, same seed)",
        f"          here {told.peak_before:.0%} before the move and {told.peak_after:.0%} after it;"
        f" the threshold is {told.threshold:.0%}",
        f"          lead {told.lead_s or 0:.0f} s; {told.requests} requests, {told.late} late,"
        f" {told.lost} lost, {told.duplicated} served twice",
        *(f"FAILED    {problem}" for problem in told.problems),
        *(["AVOIDED   the predicted contention did not happen"] if told.succeeded else []),
    ]
    print("\n".join(lines))


async def perform(arguments: argparse.Namespace, folder: Path) -> None:
    """Hold the stage for a console, until standard input closes or a signal comes."""

    def phase(text: str) -> None:
        print(msgspec.json.encode({"phase": text}).decode(), flush=True)

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else ended.set())
    stage = Stage(
        folder, hosts=arguments.hosts, shards=arguments.shards, seed=arguments.seed, endless=True, report=phase
    )
    async with stage:
        ready = {"ready": True, "socket": str(stage.socket), "fleet": str(stage.fleet_file)}
        print(msgspec.json.encode(ready).decode(), flush=True)
        await ended.wait()


def main() -> int:
    """Run the demonstration; problems are told in one line, never as a traceback."""
    arguments = parse()
    with contextlib.ExitStack() as stack:
        folder = arguments.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidestep-")))
        try:
            if arguments.headless:
                return tell(arguments, folder)
            asyncio.run(perform(arguments, folder))
        except SidestepError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        except ExceptionGroup as group:
            print("; ".join(str(e) for e in group.exceptions), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
