"""The machine's own criu, where it is too old for the kernel: refused by name, and the shard serves on."""

from __future__ import annotations

import os
import platform
import shutil

import pytest
from moving import TALLY, Pair, shard_spec

from sidestep.backends.process.able import Ability, ability
from sidestep.fleet.errors import HostIncapable
from sidestep.fleet.machines import StepName

OWN = shutil.which("criu") or shutil.which("criu", path="/usr/sbin")


@pytest.fixture
async def seen(pair: Pair) -> Ability:
    """What the host says of itself; skipped, loudly, where there is nothing to be refused."""
    if OWN is None:
        (pytest.fail if os.environ.get("CI") and os.geteuid() == 0 else pytest.skip)("NO CRIU: apt install criu")
    found = await ability(pair.source)
    if not found.code:
        pytest.skip(f"criu {found.criu} works with kernel {found.kernel}: nothing is refused here")
    return found


async def test_a_criu_that_cannot_work_with_the_kernel_is_found_out_by_trying_it(seen: Ability) -> None:
    """Whatever it promises, a process that sleeps is dumped and brought back, or not."""
    assert seen.code in {"CRIU_KERNEL", "CRIU_PRIVILEGE"} and seen.command and seen.remedy
    assert seen.kernel == platform.release() and seen.criu[0].isdigit()
    if seen.code == "CRIU_KERNEL":
        assert f"criu {seen.criu} does not work with kernel {seen.kernel}: " in seen.text


async def test_the_move_is_refused_before_anything_stands_still(pair: Pair, seen: Ability) -> None:
    """With code, host, command and remedy; its process is the same one afterwards."""
    spec = shard_spec("criu", pair.port, start=f"{TALLY} serve")
    await pair.start(spec)
    assert await pair.at_source("add 5") == "5"
    who = await pair.at_source("who")
    move = pair.move(spec)
    with pytest.raises(HostIncapable) as caught:
        await pair.step(StepName.PREPARE, move)
    assert (caught.value.code, caught.value.command) == (seen.code, seen.command)
    assert str(caught.value).startswith(f"{pair.source.host}: prepare: {seen.code}: {seen.text}")
    assert caught.value.hint == seen.remedy
    await pair.abort(StepName.PREPARE, move)
    assert (await pair.at_source("add"), await pair.at_source("who")) == ("6", who)
