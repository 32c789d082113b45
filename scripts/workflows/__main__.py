"""Walk the workflows on one fleet and say what each took: ``python -m scripts.workflows [--out FOLDER] [NAME...]``.

Real keys in a real terminal (tmux), on real shards, SSH and a real daemon. A workflow that does not come to what it is
about fails, and so does the command. ``--docs`` writes the table and the pictures of docs/workflows.md.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from scripts.workflows import page
from scripts.workflows.fleet import Walked
from scripts.workflows.page import Walked as Result
from scripts.workflows.terminal import NotSeen, Terminal
from scripts.workflows.walks import WORKFLOWS, Walk
from sidestep.autopilot.demo.stage import Stage
from sidestep.fleet.errors import SidestepError


async def walk(names: list[str], out: Path) -> list[Result]:
    """Walk these on one fleet, one after the other, whatever becomes of each."""
    with tempfile.TemporaryDirectory(prefix="ss-") as name:
        folder = Path(name)
        async with Walked(folder, hosts=4, shards=12, seed=7, endless=True, report=print) as stage:
            results = []
            for each in names:
                results.append(await _workflow(each, folder, out, stage))
                print(results[-1].line(), flush=True)
            return results


async def _workflow(name: str, folder: Path, out: Path, stage: Stage) -> Result:
    """One workflow: its walks, each in a terminal of its own."""
    number, walks = WORKFLOWS[name]
    title = (walks[0].__doc__ or "").strip()
    keys = words = 0
    began = time.monotonic()
    failure = ""
    for each in walks:
        terminal = Terminal(folder, out, _command(each, folder, stage))
        try:
            await each(terminal, stage)
        except SidestepError as error:
            failure = str(error.args[0])
            text = error.screen if isinstance(error, NotSeen) else terminal.screen()
            (out / f"failed-{name}.txt").write_text(f"{failure}\n{text}\n", encoding="utf-8")
        finally:
            terminal.close()
        keys, words = keys + terminal.keys, words + terminal.words
        if failure:
            break
    return Result(number, name, title, keys, words, time.monotonic() - began, failure)


def _command(walk: Walk, folder: Path, stage: Stage) -> list[str]:
    """What runs in the terminal."""
    sidestep = str(Path(sys.executable).with_name("sidestep"))
    if walk.__name__ == "replay":
        return [sidestep, "replay", str(folder / "state"), "--policy", "threshold_cpu=0.6"]
    return [sidestep, "--socket", str(stage.socket)]


async def _until_told(names: list[str], out: Path) -> list[Result]:
    """Walk; a SIGTERM ends the fleet too, as an interrupt does."""
    task = asyncio.ensure_future(walk(names, out))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main() -> int:
    """Walk what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m scripts.workflows")
    parser.add_argument("--out", type=Path, help="where to write what was on screen; a temporary folder without")
    parser.add_argument("--docs", action="store_true", help="write the table and the pictures of docs/workflows.md")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(WORKFLOWS)}; all without")
    given = parser.parse_args()
    if unknown := set(given.names) - set(WORKFLOWS):
        parser.error(f"no workflow is called {', '.join(sorted(unknown))}")
    if shutil.which("tmux") is None:
        parser.error("tmux is not installed; apt-get install tmux")
    out = given.out or Path(tempfile.mkdtemp(prefix="sidestep-workflows-"))
    out.mkdir(parents=True, exist_ok=True)
    results = asyncio.run(_until_told(given.names or list(WORKFLOWS), out))
    failed = [result for result in results if result.failure]
    print(f"{len(results) - len(failed)} of {len(results)} workflows passed; what was on screen is in {out}")
    if given.docs and not failed:
        page.write(results, out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
