"""What hostile workers, hosts and engines say: refused, named, and nothing of it is executed (Show 6).

First every attack of ``benchmarks.functions_attacks`` against the reader that it is meant for; then a real worker of a
real fleet of workers that lies, beside one that does not. One line an attack, with the words of the refusal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.functions_attacks import ATTACKS, Believed, watched
from benchmarks.functions_hosts import EmbeddedHosts
from benchmarks.functions_liar import python_that_lies
from benchmarks.harness import Goal, Report, main_with
from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.functions.agents import Site
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Conductor, Wishes
from sidestep.fleet.errors import SidestepError

KINDS: Final = ("pickled results", "forged and flipped capsules", "replayed tokens", "10 GB headers")
PROGRAM: Final = """
def table(n):
    rows, total = [0.0] * 2000, 0.0
    for i in range(n):
        total += (i * 7) % 11 * 0.1
        rows[i % 2000] += total
    return total, rows[:50]
"""
#: what the worker of the hostile host says, as what it counts, and words that the refusal has; "" is any
LIES: Final = {
    "pickle": ("pickled results", ""),
    "exception": ("pickled results", ""),
    "text": ("pickled results", ""),
    "token": ("replayed tokens", "answered for"),
    "flip": ("forged and flipped capsules", "refused"),
    "old": ("replayed tokens", "of token"),
}


def attacks() -> dict[str, list[str]]:
    """Every attack in this process; what was wrong, by kind."""
    wrong: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for attack in ATTACKS:
        with tempfile.TemporaryDirectory(prefix="sidestep-hostile-") as folder:
            why = ""
            try:
                with watched() as seen:
                    said = attack.make(Path(folder))
            except Believed as error:
                said = why = str(error)
            if not why and not re.search(attack.words, said):
                why = f"refused in other words than {attack.words!r}"
            if seen or (Path(folder) / "exploded").exists():
                why = f"something was run: {seen}"
            tell(attack.on, attack.name, said, why)
            if why:
                wrong[attack.kind].append(f"{attack.name}: {why}")
    return wrong


def tell(on: str, name: str, said: str, why: str) -> None:
    """One line."""
    first = said.splitlines()[0][:110] if said else ""
    print(f"{'WRONG  ' if why else 'refused'} {on:10} {name:42} {why or first}", file=sys.stderr, flush=True)


async def lies() -> dict[str, list[str]]:
    """A block on a worker that lies, for every lie: the result has to be right, from the host that does not."""
    wrong: dict[str, list[str]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="sidestep-hostile-") as name:
        folder = Path(name)
        (folder / "table.py").write_text(PROGRAM)
        made: dict[str, object] = {}
        exec(compile(PROGRAM, "table", "exec"), made)
        async with EmbeddedFleet(folder / "fleet", hosts=2) as fleet:
            honest, liar = EmbeddedHosts(fleet).sites()
            liar = Site(liar.name, liar.address, liar.transport, python_that_lies(folder))
            async with Cluster([honest, liar], log=folder / "runner.log") as cluster:
                conductor, pid = Conductor(cluster), cluster.runner.pid
                for lie, (kind, words) in LIES.items():
                    home = fleet.folder / "hosts" / liar.name
                    (home / "lie").write_text(lie)
                    # long enough for a capsule or two, and short without
                    args = (6_000_000 if lie in {"flip", "old"} else 5_000,)
                    call = call_in(folder / "table.py", "table", args, {})
                    wishes = Wishes(shard=False, every=0.2, hosts=(liar.name, honest.name))
                    before = len(conductor.guard.refused)
                    said, why = "", ""
                    try:
                        async with asyncio.timeout(120):
                            finished = await conductor.call(call, wishes)
                        named = [loss.why for loss in finished.losses if loss.host == liar.name]
                        named += [text for host, text in conductor.guard.refused[before:] if host == liar.name]
                        said = next((one for one in named if words in one), "")
                        if not said:
                            why = f"not named: {named}"
                        elif value_of(finished) != made["table"](*args):  # type: ignore[operator]
                            why = "another result"
                    except (SidestepError, TimeoutError) as error:
                        why = f"{type(error).__name__}: {error}"
                    (home / "lie").unlink()
                    exploded = (home / "exploded").read_text().split() if (home / "exploded").exists() else []
                    if {str(pid), str(os.getpid())} & set(exploded) or cluster.runner.pid != pid:
                        why = "something was run in the conductor or in the runner"
                    tell("all", f"a worker that lies: {lie}", said, why)
                    if why:
                        wrong[kind].append(f"a worker that lies, {lie}: {why}")
    return wrong


def run(options: argparse.Namespace) -> Report:
    """Every attack, and every lie of a real worker."""
    found = attacks()
    counts = {kind: sum(one.kind == kind for one in ATTACKS) for kind in KINDS}
    if not options.no_workers:
        for kind, wrong in asyncio.run(lies()).items():
            found[kind] += wrong
            counts[kind] += sum(one == kind for one, _ in LIES.values())
    goals = [
        Goal(f"{kind}: refused, named, nothing run", counts[kind] - len(found[kind]), f"of {counts[kind]}",
             counts[kind], "==")
        for kind in KINDS
    ]  # fmt: skip
    notes = [one for wrong in found.values() for one in wrong]
    return Report("functions_hostile", tuple(goals), {}, 1, options.quick, tuple(notes))


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-workers", action="store_true", help="leave the fleet of workers out")
    return parser


if __name__ == "__main__":
    main_with("functions_hostile", run, options())
