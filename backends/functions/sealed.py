"""Makes a process that can never unpickle: for the runner, which reads what workers send.

Dask's client unpickles more than results: the *type* that a worker names with each result, the
exceptions of tasks, and any control message that is marked as a pickle, whatever deserializers it
was given. Here all of them become ``Unreadable``, and an audit hook, which nothing can take
away, stops every pickle that would look up a name, in C as in Python. Lengths are weighed before memory is taken for
them, and what is packed is not unpacked: nobody of ours packs.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any, Final

from sidestep.backends.functions.frames import LIMIT

#: bytes that one part of a message may claim: a frame of ours, and what Dask puts around it
LARGEST: Final = LIMIT + (64 << 20)
_MESSAGE: Final = "a pickle from a worker was refused"

#: how many were refused since the start, and why the last one was
refused = [0]
last = [""]


class Unreadable(Exception):
    """Stands in the place of a value that came as a pickle."""


def _count(why: str) -> str:
    refused[0] += 1
    last[0] = why
    return why


def _refuse(*_: Any, **__: Any) -> Unreadable:
    return Unreadable(_count(_MESSAGE))


def _unpacked(header: Any, parts: Any) -> list[Any]:
    """The parts of a message as they came. Raises Unreadable for one that is packed, which may be of any size."""
    if any(name for name in header["compression"]):
        raise Unreadable(_count("a packed message was refused: it may be of any size"))
    return list(parts)


def _no_exception(*_: Any, **__: Any) -> tuple[type[Unreadable], Unreadable, None]:
    """What a failed task or verb raised, with a traceback of its own or without: a false one ended the client."""
    return Unreadable, _refuse(), None


def _watch(event: str, _: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        raise Unreadable(_count(_MESSAGE))


def _bounded() -> None:
    """Refuse lengths that lie: Dask takes memory for whatever eight bytes claim."""
    tcp: Any = importlib.import_module("distributed.comm.tcp")
    closed: Any = importlib.import_module("distributed.comm").CommClosedError
    read = tcp.read_bytes_rw

    async def read_bytes(stream: Any, count: int) -> Any:
        if count > LARGEST:
            # As if the connection had ended, which it now does: all that hangs on it is then given up.
            raise closed(_count(f"a message that claims {count} bytes was refused"))
        return await read(stream, count)

    tcp.read_bytes_rw = read_bytes
    for module in ("distributed.protocol.core", "distributed.protocol.serialize"):
        vars(importlib.import_module(module))["decompress"] = _unpacked


def seal() -> None:
    """Do it, for good."""
    # By name: packages of Dask have functions of the same names as their modules.
    serialize: Any = importlib.import_module("distributed.protocol.serialize")
    for module in ("distributed.protocol.pickle", "distributed.client"):
        vars(importlib.import_module(module))["loads"] = _refuse
    for module in ("distributed.core", "distributed.client"):
        vars(importlib.import_module(module))["clean_exception"] = _no_exception
    for family in ("pickle", "dask"):
        dumps, _, context = serialize.families[family]
        serialize.families[family] = (dumps, _refuse, context)
    _bounded()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    sys.addaudithook(_watch)
