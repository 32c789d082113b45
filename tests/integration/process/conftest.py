"""Two real hosts with a process backend; whatever runs there ends with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from moving import Pair

from sidestep.backends.process import ProcessBackend
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label


@pytest.fixture
async def pair(sshd: Callable[..., Any]) -> AsyncIterator[Pair]:
    first, second = sshd("a"), sshd("b")
    source, destination = await first.connected(), await second.connected()
    base = ".local/state/sidestep/test/tally.0"
    pair = Pair(ProcessBackend("test"), source, destination, first.home / base, second.home / base)
    yield pair
    for transport in (source, destination):
        for seen in await pair.backend.discover(transport):
            spec = ShardSpec(name=seen.shard, app=Label("x"), host=Label("a"), start="true")
            await pair.backend.stop(transport, spec, 1 << 40)
