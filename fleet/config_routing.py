"""How ``[router]`` is read, and what has to hold of it and of shards that wait for a split."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from sidestep.fleet.config_read import Reader, name_of, reads
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.routing import RouterSpec

Add = Callable[[tuple[str, ...], object, str, str], None]

#: a path that HAProxy's configuration and a shell take as it is
_PATH: Final = r"/[A-Za-z0-9._@%+=:,/-]+"
#: a sample expression of HAProxy without blanks, quotes and comments
_SAMPLE: Final = r"[A-Za-z_][A-Za-z0-9_.,()/:?&=*|-]*"
#: address and port; HAProxy takes several, and options
_BIND: Final = r"(\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):\d{1,5}"


def _matching(pattern: str, what: str) -> Reader[str]:
    @reads(type="string", pattern=f"^({pattern})?$")
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError(f"must be a text, not {name_of(value)}")
        if value and not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return read


path: Final = _matching(_PATH, "an absolute path without blanks")
sample: Final = _matching(_SAMPLE, "a sample expression of HAProxy without blanks and quotes")
bind: Final = _matching(_BIND, "an address and a port")


def check_router(
    router: RouterSpec | None,
    socket: str,
    hosts: Collection[str],
    add: Callable[[tuple[str, ...], object, str, str], None],
) -> None:
    """Note what is wrong with ``[router]``; ``socket`` is that of ``[fleet]``, which says the same in short."""
    if router is None:
        return
    if socket:
        add(("fleet", "router"), socket, "is there beside [router]", "keep one: [router] says which engine, and where")
    if not router.socket:
        add(("router", "socket"), None, "is missing", "write the path of the router's socket")
    if router.engine != "haproxy":
        return
    if not router.folder:
        hint = 'write the folder of its files, such as "/var/lib/sidestep"; haproxy has to be able to read it'
        add(("router", "folder"), None, "is missing", hint)
    for field in ("app", "key", "bind"):
        if not getattr(router, field):
            add(("router", field), "", "must not be empty", f"leave {field} out for the usual one")
    if router.host and router.host not in hosts:
        add(("router", "host"), router.host, "is no host of this fleet", "declare it, or leave it out for this machine")


def check_spares(shards: Iterable[ShardSpec], add: Add) -> None:
    """Note what keeps a spare shard from taking keys, or a shard from giving some."""
    shards = tuple(shards)
    cut = {shard.app for shard in shards if shard.drop and shard.keys is not None}
    for shard in shards:
        where = ("shards", str(shard.name))
        if shard.spare and shard.keys is not None:
            add((*where, "keys"), list(shard.keys), "are those of a spare", "leave keys out: a split gives it some")
        if shard.spare and shard.queued:
            add((*where, "queued"), True, "contradicts spare", "keep one: a spare waits for a split, not for a host")
        if shard.spare and not shard.port:
            add((*where, "port"), None, "is missing", "a spare needs the port that it will listen on")
        if shard.spare and shard.app not in cut:
            hint = f"give the shards of {shard.app} with keys a drop command"
            add((*where, "spare"), True, f"waits for a split, but no shard of app {shard.app} can be split", hint)
        if shard.drop and not (shard.save and shard.load):
            add((*where, "drop"), shard.drop, "needs save and load commands", "write both; they heed LO and HI")
