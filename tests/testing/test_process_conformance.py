"""X5: the in-tree process backend keeps every rule of the contract on real hosts, and broken ones are named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sidestep.backends.base import TakenCapsule
from sidestep.backends.process import ProcessBackend
from sidestep.testing import CounterSubject, EmbeddedGround, check_backend

pytestmark = pytest.mark.fleet


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[EmbeddedGround]:
    async with EmbeddedGround(tmp_path / "fleet") as ground:
        yield ground


async def test_the_process_backend_keeps_the_contract_with_both_drivers(ground: EmbeddedGround) -> None:
    """X5, S2.27: one step of each rule is chosen here; ``sidestep plugin check process`` tries all."""
    for first, driver in ((0, "hook"), (1000, "restart")):
        subject = CounterSubject(make=lambda: ProcessBackend("kit"), driver=driver)
        only = () if driver == "hook" else ("move", "twice", "abort", "kill.shard", "fence.owner", "capsule")
        card = await check_backend(subject, ground, only=only, sample=1, first=first)
        assert card.ok, card.text()
        assert not set(card.unchecked) - {"full"}


class Misnumbered(ProcessBackend):
    """Its capsules say another digest than their bytes have."""

    async def snapshot(self, *given: Any) -> TakenCapsule:
        return replace(await super().snapshot(*given), digest="0" * 64)


class Anybody(ProcessBackend):
    """It takes a capsule of whoever runs."""

    async def snapshot(self, transport: Any, shard: Any, token: int, seq: int, limits: Any) -> TakenCapsule:
        (seen,) = [seen for seen in await self.discover(transport) if seen.shard == shard.name]
        return await super().snapshot(transport, shard, seen.token, seq, limits)


class Careless(ProcessBackend):
    """It drops no copy."""

    async def drop(self, *_: Any) -> None:
        return


async def test_a_capsule_rule_that_is_broken_is_named(ground: EmbeddedGround) -> None:
    """X5: as in test_conformance_mutants, for what needs real files."""
    broken = ((Misnumbered, "capsule"), (Anybody, "capsule.owner"), (Careless, "capsule.copies"))
    for place, (kind, rule) in enumerate(broken):
        subject = CounterSubject(make=lambda kind=kind: kind("kit"))
        card = await check_backend(subject, ground, only=(rule,), first=2000 + 1000 * place)
        assert card.broken == (rule,), card.text()
