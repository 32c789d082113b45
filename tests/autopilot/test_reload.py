"""A fleet file that is read again: switched in one piece, refused in one piece, or named as waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from loop_doubles import Scene
from world_doubles import settle

from sidestep.autopilot.reload import Reloader
from sidestep.autopilot.reload_merge import FLEET, HOST, POLICY_WAITS, SHARD, merge
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.inventory import FleetSpec, HostSpec, Level, Policy, ShardSpec
from sidestep.fleet.machines import HostState

FILE = """\
[fleet]
name = "f"
[policy]
min_duration = 3
settle = 20
[hosts.h1]
address = "127.0.0.1"
cpu = 4
memory = "8G"
reserve_cpu = 1
[hosts.h2]
address = "127.0.0.2"
cpu = 4
memory = "8G"
reserve_cpu = 1
[hosts.h3]
address = "127.0.0.3"
cpu = 4
memory = "8G"
reserve_cpu = 1
[shards.s1]
app = "a"
host = "h1"
start = "true"
[shards.s2]
app = "a"
host = "h1"
start = "true"
[shards.s3]
app = "a"
host = "h1"
start = "true"
pinned = true
"""


def fleet(text: str = FILE) -> FleetSpec:
    return parse_fleet(text, "fleet.toml")


def edited(*pairs: tuple[str, str]) -> str:
    text = FILE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


class Stage:
    """The real loop and world of a scene, and a file that is read again into them."""

    def __init__(self, folder: Path, held: str = "") -> None:
        self.scene = Scene(folder)
        self.file = folder / "fleet.toml"
        self.levels: list[Level] = []
        self.seen: list[FleetSpec] = []
        self.file.write_text(FILE)
        first = msgspec.structs.replace(fleet(), source=str(self.file))
        loop, parts = self.scene.loop, self.scene
        self.reloader = Reloader(
            first, (parts.world, parts.proposals, loop, self), log=parts.log, set_level=self.levels.append, held=held
        )
        loop.notices = self.reloader.notices

    def switch(self, fleet: FleetSpec) -> None:
        self.seen.append(fleet)

    async def reload(self, text: str) -> bool:
        self.file.write_text(text)
        return await self.reloader.reload()

    @property
    def said(self) -> str:
        return self.scene.said.getvalue()

    def alerts(self) -> str:
        assert self.scene.loop.picture is not None
        return " | ".join(self.scene.loop.picture.alerts)


async def test_policy_thresholds_cordons_labels_and_level_are_switched_live(tmp_path: Path) -> None:
    """S3.23: the next tick goes by the new file."""
    stage = Stage(tmp_path)
    watching = asyncio.create_task(stage.scene.world.run())
    await settle()
    await stage.scene.tick(3)
    assert stage.scene.loop.picture is not None and stage.scene.loop.picture.policy.threshold_cpu == 0.8
    assert await stage.reload(
        edited(
            ('name = "f"', 'name = "f"\nlevel = "full"'),
            ("settle = 20", "settle = 20\nthreshold_cpu = 0.7"),
            ('address = "127.0.0.2"', 'address = "127.0.0.2"\ncordoned = true\nlabels = {tier = "web"}'),
            ("pinned = true", "priority = 1"),
        )
    )
    await stage.scene.tick(2)
    picture = stage.scene.loop.picture
    assert picture.policy.threshold_cpu == 0.7
    assert picture.snapshot.hosts.states[1] is HostState.CORDONED
    assert picture.snapshot.hosts.reasons[1] == "cordoned in the fleet file"
    assert list(picture.snapshot.shards.priority) == [3, 3, 1] and picture.snapshot.shards.movable[2]
    assert stage.levels == ["full"] and stage.seen[-1].host("h2").labels == (("tier", "web"),)
    for words in ("policy.threshold_cpu 0.8 -> 0.7", "hosts.h2.cordoned false -> true", 'level "advise" -> "full"'):
        assert words in stage.said
    assert picture.alerts == ()
    stage.scene.journal.flush()
    assert b'"reload"' in (tmp_path / "audit.log").read_bytes()
    assert await stage.reload(edited(("settle = 20", "settle = 20\nthreshold_cpu = 0.7")))
    await stage.scene.tick(2)
    assert stage.scene.loop.picture.snapshot.hosts.states[1] is HostState.READY
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_bad_file_changes_nothing_and_says_where_and_what_to_do(tmp_path: Path) -> None:
    """S3.23: file, line, value and remedy, in the log and on the picture, until a good one was read."""
    stage = Stage(tmp_path)
    text = edited(("settle = 20", "settle = 20\nthreshold_cpu = 0.7\nquantile = 7"), ("cpu = 4", 'cpu = "many"'))
    assert not await stage.reload(text)
    await stage.scene.tick(1)
    assert stage.seen == [] and stage.scene.loop.picture is not None
    assert stage.scene.loop.picture.policy.threshold_cpu == 0.8
    line = text.splitlines().index("quantile = 7") + 1
    for where in (stage.said, stage.alerts()):
        assert f"{stage.file}:{line}: policy.quantile = 7" in where and "remedy: write a fraction" in where
    assert "'many'" in stage.said and "(and 1 more, see the log)" in stage.alerts()
    assert await stage.reload(FILE)
    await stage.scene.tick(1)
    assert stage.alerts() == ""


async def test_a_file_that_is_gone_or_holds_escapes_leaves_the_old_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert not await stage.reload(edited(('app = "a"', 'app = "\\u001b[2J"')))
    stage.file.unlink()
    assert not await stage.reloader.reload()
    assert "there is no such file" in stage.said and "\x1b" not in stage.said


async def test_what_cannot_be_switched_is_named_and_the_rest_is_switched(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    text = edited(
        ('name = "f"', 'name = "f"\ninterval = 2'),
        ("settle = 20", "settle = 20\nthreshold_cpu = 0.7\nhorizon = 120"),
        ('address = "127.0.0.2"', 'address = "127.0.0.9"'),
        ('start = "true"', 'start = "false"'),
    )
    assert await stage.reload(text + '[hosts.h4]\naddress = "127.0.0.4"\n')
    await stage.scene.tick(1)
    waits = stage.alerts()
    for words in ("hosts added: h4", "hosts: address of h2", "interval", "policy.horizon 60.0 -> 120.0", "start of s1"):
        assert words in waits, words
    now = stage.seen[-1]
    assert now.policy.threshold_cpu == 0.7 and now.policy.horizon == 60.0 and now.interval == 1.0
    assert now.host("h2").address == "127.0.0.2" and [h.name for h in now.hosts] == ["h1", "h2", "h3"]


async def test_half_a_file_that_would_contradict_itself_is_not_switched(tmp_path: Path) -> None:
    """What can be switched names a shard that comes only with the restart."""
    stage = Stage(tmp_path)
    text = edited(("pinned = true", 'pinned = true\navoid = ["s9"]'))
    assert await stage.reload(text + '[shards.s9]\napp = "b"\nhost = "h2"\nstart = "true"\n')
    assert stage.seen[-1] == msgspec.structs.replace(fleet(), source=str(stage.file))
    assert "shards added: s9" in stage.said and 'shards.s3.avoid [] -> ["s9"]' in stage.said.split("restart:")[1]


async def test_a_level_of_the_command_line_outlasts_the_fleet_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path, held="off")
    assert await stage.reload(edited(('name = "f"', 'name = "f"\nlevel = "full"')))
    assert stage.levels == [] and "--level off holds" in stage.said


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.scene.journal._db.execute("PRAGMA query_only = ON")
    assert not await stage.reload(edited(("settle = 20", "settle = 21")))
    assert stage.seen == [] and "nothing was switched" in " ".join(stage.reloader.notices())


async def test_a_reload_that_changes_nothing_says_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert await stage.reload(FILE)
    await settle()
    assert "read again: nothing to switch" in stage.said


def test_every_key_is_either_switched_or_waits(tmp_path: Path) -> None:
    """A field that nobody classified waits: it is never taken half."""
    for live, struct in ((FLEET, FleetSpec), (HOST, HostSpec), (SHARD, ShardSpec), (POLICY_WAITS, Policy)):
        assert live <= set(struct.__struct_fields__)
    old = fleet()
    for field in set(FleetSpec.__struct_fields__) - FLEET - {"hosts", "shards", "policy", "source"}:
        value = getattr(old, field)
        other = value + type(value)(1) if isinstance(value, int | float) else "other"
        merged = merge(old, msgspec.structs.replace(old, **{field: other}))
        assert merged.fleet == old and merged.waits == (field,), field


def test_a_change_on_many_hosts_is_one_line() -> None:
    text = "".join(f'[hosts.n{i}]\naddress = "10.0.0.{i}"\n' for i in range(1, 9))
    old = fleet(FILE + text)
    new = parse_fleet(dump_fleet(old).replace("cordoned = false", "cordoned = true"), "fleet.toml")
    merged = merge(old, new)
    assert merged.switched == ("hosts: cordoned of h1, h2, h3 and 8 more",) and not merged.waits


@pytest.mark.parametrize("kind", ["hosts", "shards"])
def test_another_order_waits_and_keeps_the_columns_as_they_are(kind: str) -> None:
    old = fleet()
    merged = merge(old, msgspec.structs.replace(old, **{kind: tuple(reversed(getattr(old, kind)))}))
    assert merged.fleet == old and merged.waits == (f"{kind} in another order",)
