"""The child of ``sidestep replay``: serves a recording until its standard input ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from pathlib import Path

from sidestep.autopilot.backtest.policy import setting
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.recorder.otherwise import planned
from sidestep.autopilot.recorder.player import Otherwise, Player
from sidestep.autopilot.recorder.recording import Recording
from sidestep.autopilot.server import Server
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub


def play(options: argparse.Namespace, start: float, end: float) -> None:
    """Serve the recording at ``options.socket`` and say so on standard output. Raises SidestepError."""
    _say(phase=f"reading {options.source}")
    recording = Recording.open(options.source, start, end)
    fleet = load_fleet(options.fleet) if options.fleet else None
    other = other_policy(options.policy, recording, fleet)
    name = fleet.name if fleet else options.source.stem
    player = Player(recording, name, otherwise=other)
    _say(phase=f"{len(recording)} pictures")
    asyncio.run(_serve(player, options.socket))


def other_policy(given: list[str], recording: Recording, fleet: FleetSpec | None) -> Otherwise | None:
    """What ``--policy`` asks, None without. Raises ConfigError, UsageError."""
    if not given:
        return None
    step = recording.picture(0).frame.future_step or 1.0
    policy, name = setting(given, step).policy, scrub(", ".join(Path(text).name for text in given), 60)
    return lambda shown: planned(shown.frame, policy, name, fleet)


async def _serve(player: Player, socket: Path) -> None:
    server = Server(socket, player)
    player.changed = server.announce
    server.claim()
    await server.start()
    life = asyncio.create_task(player.run())
    _say(ready=True, socket=str(socket))
    try:
        await asyncio.to_thread(sys.stdin.buffer.read)
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life
        await server.aclose()


def _say(**words: object) -> None:
    print(json.dumps(words), flush=True)
