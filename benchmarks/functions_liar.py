"""A host whose worker lies: what its Python runs first. The file ``$HOME/lie`` says in which way."""

from __future__ import annotations

import sys
from pathlib import Path


def python_that_lies(folder: Path) -> str:
    """A Python that runs ``SITE`` before anything else; to be given to a host."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    liar = folder / "python"
    liar.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "site"} exec {sys.executable} "$@"\n')
    liar.chmod(0o700)
    return str(liar)


SITE = """
import importlib.abc, importlib.machinery, os, sys

NAME = "sidestep.backends.functions.tasks"
HOME = os.path.expanduser("~")


def mode():
    try:
        return open(os.path.join(HOME, "lie")).read().strip()
    except OSError:
        return ""


class Bomb:
    def __reduce__(self):
        return (exec, ("import os; open(%r, 'a').write(str(os.getpid()) + chr(10))" % os.path.join(HOME, "exploded"),))


class BombError(Exception):
    __reduce__ = Bomb.__reduce__


def lying(honest):
    import inspect
    def verb(body, *rest):
        if mode() in ("token", "flip", "old"):
            return bent(mode(), body, honest(body, *rest))
        return plainly() or honest(body, *rest)
    async def waiting(body):
        if mode() in ("token", "flip", "old"):
            return bent(mode(), body, await honest(body))
        return plainly() or await honest(body)
    verb = waiting if inspect.iscoroutinefunction(honest) else verb
    verb.__module__, verb.__qualname__, verb.__name__ = NAME, honest.__name__, honest.__name__
    return verb


def plainly():
    if mode() == "pickle":
        return Bomb()
    if mode() == "exception":
        raise BombError("boom")
    return "not bytes" if mode() == "text" else None


def bent(lie, body, answer):
    import msgspec
    asked, said = msgspec.msgpack.decode(body)[0], msgspec.msgpack.decode(answer)
    found = said.get("ok")
    if asked == "start" and lie == "token" and isinstance(found, dict):
        found["token"] -= 1
    if asked == "status" and lie in ("flip", "old"):
        for one in found or ():
            if one["capsule"] and lie == "flip":
                sealed = one["capsule"]
                one["capsule"] = sealed[:-1] + bytes([sealed[-1] ^ 1])
            elif one["capsule"]:
                one["capsule"] = resealed(one["capsule"])
    return msgspec.msgpack.encode(said)


def resealed(sealed):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from msgspec.structs import replace
    from sidestep.backends.functions.place import Place
    from sidestep.fleet.capsules import encoded, framed, parse
    from sidestep.sharding.capsules import HostKey
    raw = encoded(replace(parse(sealed).header, token=0))
    key = HostKey(Ed25519PrivateKey.from_private_bytes(Place.here().signing))
    return framed(raw, key.sign(raw))


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            module.verb, module.task = lying(module.verb), lying(module.task)
        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""
