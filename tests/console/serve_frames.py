"""``python tests/console/serve_frames.py SOCKET HOSTS SHARDS``: the lively fleet through the real server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from frames import Daemon, lively


async def serve(path: Path, hosts: int, shards: int) -> None:
    """Serve a lively fleet until interrupted, twice a second."""
    async with Daemon(path, lively(hosts, shards)) as daemon:
        while True:
            await asyncio.sleep(0.5)
            daemon.tick(0.5)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).resolve(), *(int(a) for a in sys.argv[2:4])))
