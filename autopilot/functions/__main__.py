"""``python -m sidestep.autopilot.functions``: what ``sidestep run`` runs.

Exit codes: 0 the function returned, 1 it raised or no host could run it, 2 bad input.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.autopilot.functions.session import session
from sidestep.autopilot.functions.steerer import Steered
from sidestep.backends.functions.job import Finished, Wishes
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep run", description="Runs a Python function on hosts of a fleet.")
    parser.add_argument("function", metavar="FILE.py:FUNCTION")
    parser.add_argument("values", nargs="*", metavar="ARG", help="Python literals, or NAME=literal; else text")
    parser.add_argument("--fleet", type=Path, help="the fleet file; by default the one in the configuration folder")
    parser.add_argument("--hosts", default="", metavar="A,B", help="hosts, the preferred one first; by default all")
    parser.add_argument("--python", default="python3", metavar="PATH", help="the Python with sidestep[functions] there")
    parser.add_argument("--copies", type=int, default=1, metavar="N", help="run on so many hosts; one result counts")
    parser.add_argument(
        "--every",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="keep capsules, so that the loss of a host costs so much work at most; 0 keeps none",
    )
    parser.add_argument("--no-shards", action="store_true", help="keep its loops on one host")
    parser.add_argument("--stay", action="store_true", help="move nothing, whatever is forecast")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def literals(words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as Python literals; what is none is text. Raises UsageError for one by place after one by name."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _literal(rest)
        elif kwargs:
            raise UsageError(f"{word!r} comes after {list(kwargs)[-1]}=", hint="give arguments by name last")
        else:
            args.append(_literal(word))
    return args, kwargs


def _literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return word


async def run(options: argparse.Namespace) -> int:
    """Run and print; the exit code. Raises SidestepError."""
    file, colon, name = options.function.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise UsageError(f"{options.function!r} names no function", hint="write it as path/file.py:function")
    args, kwargs = literals(options.values)
    call = call_in(Path(file), name, args, kwargs)
    fleet = load_fleet(options.fleet or paths.config_path())
    hosts = tuple(host for host in options.hosts.split(",") if host)
    wishes = Wishes(hosts=hosts, copies=options.copies, shard=not options.no_shards, every=options.every)
    async with session(fleet, hosts, python=options.python, moves=not options.stay, told=_told) as conductor:
        for host, why in conductor.cluster.lost.items():
            print(f"{scrub(host)} is not used: {scrub(why, 400)}", file=sys.stderr)
        finished = await conductor.call(call, wishes)
    return _print(finished, as_json=options.json)


def _told(steered: Steered) -> None:
    choice = steered.choice
    words = f"{choice.block} from {scrub(choice.source)} to {scrub(choice.target)}"
    if steered.moved is None:
        print(f"not moved, {words}: {scrub(steered.why, 400)}", file=sys.stderr)
    else:
        saves = f"which is to save {choice.saves:.0f} s; it stood for {steered.moved.pause * 1e3:.0f} ms"
        print(f"moved {words}, {saves}", file=sys.stderr)


def _print(finished: Finished, *, as_json: bool) -> int:
    value: Any = None
    error: Exception | None = None
    try:
        value = value_of(finished)
    except Exception as raised:  # noqa: BLE001 - the function's own, shown as such
        error = raised
    if as_json:
        print(json.dumps(_document(finished, value, error), ensure_ascii=True, indent=2))
    elif error is None:
        print(scrub(repr(value), 1 << 20))
    else:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        said = str(error) if isinstance(error, SidestepError) else f"{type(error).__name__}: {error}"
        print(f"{scrub(said, 4000)}{notes}", file=sys.stderr)
    return 0 if error is None else 1


def _document(finished: Finished, value: Any, error: Exception | None) -> dict[str, Any]:
    outcome = finished.outcome
    return {
        "host": scrub(finished.host),
        "result": scrub(repr(value), 1 << 20) if error is None else None,
        "error": None if error is None else {"type": scrub(outcome.error), "text": scrub(outcome.text, 4000)},
        "seconds": round(finished.seconds, 6),
        "wall_s": round(outcome.wall_s, 6),
        "cpu_s": round(outcome.cpu_s, 6),
        "max_rss": outcome.max_rss,
        "sharded": outcome.sharded,
        "fallbacks": [scrub(why) for why in outcome.fallbacks],
        "losses": [
            {"host": scrub(loss.host), "why": scrub(loss.why), "work_s": round(loss.work, 3)}
            for loss in finished.losses
        ],
        "moves": finished.moves,
        "differing": [scrub(host) for host in finished.differing],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = arguments(argv)
    try:
        return asyncio.run(run(options))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    # A block may be standing while imports are looked through for garbage.
    gc.freeze()
    sys.exit(main())
