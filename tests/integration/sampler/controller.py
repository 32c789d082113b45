"""A controller to kill: follows one host with every kind of sampler, and says when all of them sample."""

from __future__ import annotations

import asyncio
import getpass
import sys

from watching import KINDS, Watched

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.labels import Label


async def main(port: str, identity: str, known_hosts: str, _kinds: str) -> None:
    target = SshTarget(
        name=Label("a"), address="127.0.0.1", port=int(port), user=getpass.getuser(), identities=(identity,)
    )
    transport = AsyncsshTransport(target, HostKeys.load(known_hosts))
    await transport.connect()
    seen = [Watched() for _ in KINDS]

    def all_sample() -> bool:
        if all(one.panel.seq[0] >= 2 for one in seen) and not said:
            said.append(True)
            print("sampling", flush=True)
        return False

    said: list[bool] = []
    await asyncio.gather(*(one.follow(transport, all_sample, kind=kind) for one, kind in zip(seen, KINDS, strict=True)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
