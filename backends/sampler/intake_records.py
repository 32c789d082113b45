"""The rare records of protocol 2: greeting, facts, schema, tasks and trouble, read one by one.

Every reader returns None or raises ValueError for what is not such a record; the intake says
where and on which host. Patterns are linear: no input makes them slow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Final

from msgspec import Struct

from sidestep.backends.sampler.protocol import FACTS, HOST_COLUMNS, SHARD_COLUMNS, VERSION
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.labels import Label, scrub

MAX_SHARDS: Final = 4096
MAX_TASKS: Final = 1024
#: longest line of any record but V and K
MAX_RARE: Final = 64 << 10

_HELLO: Final = re.compile(rb"H(\d{1,6}) (\d{1,10}) (\S{1,200}) (\d{1,6}) ([a-z]{1,20}) ([0-9a-f]{8}|-)")
_SPEAKS: Final = re.compile(rb"H\d{1,6} |E [a-z]{1,20}(?: |\Z)")
_SCHEMA: Final = re.compile(rb"K (\d{1,4}) (\d{1,4}) (-|[A-Za-z0-9._,-]+)")
_FACT: Final = re.compile(rb"([a-z_]{1,20})=(\S{1,200})")
_TASK: Final = re.compile(rb"([!-+\--~]{1,200})@(\d{1,12}(?:\.\d{1,6})?)/(-|\d{1,12}(?:\.\d{1,6})?)")
_TROUBLE: Final = re.compile(rb"E ([a-z]{1,20})(?: (.*))?", re.DOTALL)
#: what the value of a fact must look like; every one may be ``-``
_FACT_VALUES: Final = {
    "cpus": re.compile(rb"\d{1,6}(?:\.\d{1,6})?|-"),
    "memory": re.compile(rb"\d{1,18}|-"),
    "cgroup": re.compile(rb"v1|v2|hybrid|none|-"),
    "container": re.compile(rb"none|lxcfs|bare|-"),
    "psi": re.compile(rb"yes|no|-"),
    "tree": re.compile(rb"\d{1,10}|-"),
}


class Greeting(Struct, frozen=True):
    """Who samples: ``kind`` of sampler, its pid, the host's kernel and boot ("-" is unknown)."""

    kind: Label
    pid: int
    kernel: Label
    boot: str


def speaks(line: bytes) -> bool:
    """Whether a line claims to be the sampler's and not a shell's greeting."""
    return _SPEAKS.match(line) is not None


def greeting(line: bytes) -> Greeting:
    """H: raises ValueError for another version too."""
    version = re.match(rb"H(\d{1,6}) ", line)
    if version is not None and int(version[1]) != VERSION:
        raise ValueError(f"protocol version {int(version[1])}; this is version {VERSION}")
    found = _HELLO.fullmatch(line)
    if found is None:
        raise ValueError("not a greeting")
    return Greeting(scrub(found[5]), int(found[2]), scrub(found[3]), found[6].decode("ascii"))


def schema(line: bytes) -> tuple[Label, ...]:
    """K: the names of shards."""
    found = _SCHEMA.fullmatch(line)
    if found is None or (int(found[1]), int(found[2])) != (len(HOST_COLUMNS), len(SHARD_COLUMNS)):
        raise ValueError(f"not a schema of {len(HOST_COLUMNS)} host and {len(SHARD_COLUMNS)} shard values")
    names = [] if found[3] == b"-" else found[3].decode("ascii").split(",")
    if len(names) > MAX_SHARDS:
        raise ValueError(f"{len(names)} shards; at most {MAX_SHARDS} are allowed")
    if any(not name or a >= name for a, name in pairwise(["", *names])):
        raise ValueError("shard names are not sorted, or one is empty or repeated")
    if any(len(name) > 200 for name in names):
        raise ValueError("a shard's name is longer than 200 characters")
    # only letters, digits, dots, underscores and dashes: nothing to scrub
    return tuple(map(Label, names))


@lru_cache(maxsize=256)
def facts(line: bytes) -> Mapping[str, Label]:
    """F: those that are in FACTS; others are left out. Most hosts of a fleet say the same: they share it."""
    if line == b"F":
        return {}
    if line[:2] != b"F " or len(line) > MAX_RARE:
        raise ValueError("not a record of facts")
    known: dict[str, Label] = {}
    for word in line[2:].split(b" "):
        found = _FACT.fullmatch(word)
        if found is None:
            raise ValueError("not a record of facts")
        name = found[1].decode("ascii")
        pattern = _FACT_VALUES.get(name)
        if pattern is not None and pattern.fullmatch(found[2]) is None:
            raise ValueError(f"fact {name} is not {FACTS[name]}")
        if name in FACTS:
            known[name] = scrub(found[2])
    return known


def tasks(line: bytes) -> tuple[ScheduledTask, ...]:
    """T: what the host starts by itself, in its order."""
    if line == b"T -":
        return ()
    words = line[2:].split(b",")
    if line[:2] != b"T " or len(line) > MAX_RARE or len(words) > MAX_TASKS:
        raise ValueError(f"not a record of at most {MAX_TASKS} tasks")
    found = [_TASK.fullmatch(word) for word in words]
    return tuple(_task(match) for match in found)


def _task(match: re.Match[bytes] | None) -> ScheduledTask:
    if match is None:
        raise ValueError("not a record of tasks")
    return ScheduledTask(scrub(match[1]), float(match[2]), None if match[3] == b"-" else float(match[3]))


def trouble(line: bytes) -> str:
    """E: why the sampler gave up."""
    found = _TROUBLE.fullmatch(line)
    if found is None:
        raise ValueError("not an error record")
    return f"the sampler gave up ({scrub(found[1])}): {scrub(found[2] or b'no reason given')}"
