"""Make the pictures in docs/pictures from a live demonstration: ``python -m scripts.pictures``.

Waits on an embedded fleet until a plan is proposed, then lets the console export itself
in every size; nothing is drawn by hand.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sidestep.autopilot.demo.stage import Stage
from sidestep.console.picture import svg
from sidestep.fleet.machines import PlanState

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SHOTS = (
    ("fleet", "80x24", {}),
    ("fleet", "120x40", {}),
    ("fleet", "200x60", {}),
    ("plans", "120x40", {}),
    ("fleet", "120x40-nocolor", {"NO_COLOR": "1"}),
)
#: pictures of pages: the screen that one comes from, the size, and the keys that lead there
PAGES = (("plan", "plans", (120, 40), ("g", "enter")), ("what-if", "fleet", (120, 40), ("i", "d", "plus")))


async def take() -> None:
    """Start the fleet, wait for a proposal, take every picture."""
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        async with Stage(Path(folder), hosts=4, shards=12, seed=7, report=print) as stage:
            client = await stage.attach()
            async with asyncio.timeout(180):
                async for frame in client.subscribe(2):
                    if any(view.status.state is PlanState.PROPOSED for view in frame.plans):
                        break
            for screen, name, extra in SHOTS:
                out = PICTURES / f"{screen}-{name}.svg"
                size = name.split("-")[0]
                command = [str(Path(sys.executable).with_name("sidestep")), "--socket", str(stage.socket), "picture"]
                command += ["--screen", screen, "--size", size, "--out", str(out)]
                shot = await asyncio.create_subprocess_exec(*command, env={**os.environ, **extra})
                if await shot.wait():
                    raise subprocess.CalledProcessError(shot.returncode or 1, command)
                print(out.relative_to(PICTURES.parent.parent))
            for name, screen, size, keys in PAGES:
                out = PICTURES / f"{name}-{size[0]}x{size[1]}.svg"
                out.write_text(await svg(stage.socket, size, screen, theme="", ascii_only=False, keys=keys))
                print(out.relative_to(PICTURES.parent.parent))
            await client.aclose()


if __name__ == "__main__":
    asyncio.run(take())
