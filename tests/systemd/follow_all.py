"""A controller to be killed: samples every host that it is told of, and says so once all of them speak."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.stream import follow
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import SshTarget


async def main(known_hosts: str, identity: str, *pairs: str) -> None:
    keys = HostKeys.load(Path(known_hosts))
    targets = [
        SshTarget(name=name, address=address, user="root", identities=(identity,))
        for name, address in (pair.split("=") for pair in pairs)
    ]
    panel = Panel([t.name for t in targets])

    async def one(row: int, target: SshTarget) -> None:
        transport = AsyncsshTransport(target, keys)
        await transport.connect()
        await follow(transport, "test", 0.2, lambda: panel.intake(row))

    following = [asyncio.create_task(one(row, target)) for row, target in enumerate(targets)]
    while not (panel.seen > 0).all():
        for task in following:
            if task.done():
                task.result()
        await asyncio.sleep(0.02)
    print("all speak", flush=True)
    await asyncio.gather(*following)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
