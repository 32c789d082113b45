"""Which shards can be split and merged."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep.autopilot.executor_kinds import KINDS
from sidestep.autopilot.steps import Hands
from sidestep.fleet.config import parse_fleet
from sidestep.fleet.extensions import BACKENDS, load
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Part, Reason

SHARD = """app = "kv"
host = "h"
driver = "hook"
start = "x"
save = "x"
load = "x"
drop = "x"
"""


@pytest.mark.parametrize("kind", ["split", "merge"])
@pytest.mark.parametrize("backend", ["process", "systemd"])
def test_services_are_split_and_merged_by_every_backend_that_runs_commands(backend: str, kind: Any) -> None:
    """S1.22, S3.1: a shard that is a unit is divided by the same steps as one that is a process."""
    head = f'{SHARD}backend = "{backend}"\n'
    fleet = parse_fleet(
        f'[fleet]\nname = "f"\n[hosts.h]\naddress = "h"\n[shards.a]\n{head}port = 7000\nkeys = [0, 65536]\n'
        f"[shards.b]\n{head}port = 7001\nspare = true\n",
        "fleet.toml",
    )
    made = load(BACKENDS, backend)("f")
    hands = Hands(fleet=fleet, backend_for=lambda shard: made, transport_for=lambda name: made, router=None)
    host, parts = Label("h"), (Part(Label("a"), Label("h"), (0, 9)), Part(Label("b"), Label("h"), (9, 65536)))
    action = Action(
        id=1, kind=kind, shard=Label("a"), source=host, destination=host, token=1, priority=3, parts=parts,
        reason=Reason("MANUAL", scrub("why")),
    )  # fmt: skip
    assert KINDS[kind].lacks(hands, action) == ""
