"""Which hosts the planner is told cannot move processes with their memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sidestep.autopilot.abilities import CAN, CANNOT, NOT_ASKED, Abilities
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.base import Completed
from sidestep.fleet.errors import HostUnreachable
from sidestep.fleet.inventory import Driver, FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label

WELL = b"sockets=yes\ncriu=4.2\nkernel=6.18\n"
LACKS = b"code=CRIU_MISSING\ntext=there is no criu here\n"


def fleet(driver: Driver) -> FleetSpec:
    shard = ShardSpec(name=Label("kv"), app=Label("kv"), host=Label("a"), start="true", driver=driver)
    hosts = tuple(HostSpec(name=Label(name), address="127.0.0.1") for name in "abc")
    return FleetSpec(name=Label("f"), source="f.toml", hosts=hosts, shards=(shard,))


class Host:
    """Answers as it was told, and counts."""

    def __init__(self, host: str, said: bytes) -> None:
        self.host, self.said, self.asked = host, said, 0

    async def run(self, command: str, **more: Any) -> Completed:
        self.asked += 1
        if not self.said:
            raise HostUnreachable(self.host, "criu", "gone")
        return Completed(0, self.said, b"")


class World:
    def __init__(self, driver: Driver) -> None:
        self.fleet = fleet(driver)
        self.unable: Mapping[str, Label] = {}
        self.hosts = {"a": Host("a", WELL), "b": Host("b", LACKS), "c": Host("c", b"")}

    def reachable(self) -> tuple[str, ...]:
        return tuple(self.hosts)


class Lines(list[tuple[str, str]]):
    def say(self, kind: str, text: str, **more: Any) -> None:
        self.append((kind, text))


@pytest.fixture
def now() -> list[float]:
    return [100.0]


def made(world: World, lines: Lines, now: list[float]) -> Abilities:
    clock = Clock(wall=lambda: now[0], monotonic=lambda: now[0])
    return Abilities(world, world.hosts.__getitem__, lines, clock)  # type: ignore[arg-type]


async def test_hosts_that_cannot_are_told_with_code_and_reason_and_said_once(now: list[float]) -> None:
    world, lines = World("criu"), Lines()
    abilities = made(world, lines, now)
    await abilities.look()
    assert world.unable == {"b": "CRIU_MISSING: there is no criu here", "c": NOT_ASKED}
    ((kind, text),) = lines
    assert kind == "host" and text.startswith(
        "b: CRIU_MISSING: there is no criu here; command: criu --version; remedy:"
    )
    now[0] += CANNOT
    world.hosts["b"].said = WELL
    await abilities.look()
    assert world.unable == {"c": NOT_ASKED} and len(lines) == 1
    assert {name: host.asked for name, host in world.hosts.items()} == {"a": 1, "b": 2, "c": 2}
    now[0] += CAN
    await abilities.look()
    assert world.hosts["a"].asked == 2


async def test_nobody_is_asked_where_no_shard_needs_it(now: list[float]) -> None:
    world, lines = World("hook"), Lines()
    await made(world, lines, now).look()
    assert world.unable == {} and not any(host.asked for host in world.hosts.values())
