"""``backup`` and ``restore``: the state of a daemon as one file, and back."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from sidestep.autopilot.backup import backup
from sidestep.autopilot.restore import restore
from sidestep.autopilot.server_service import actor_of
from sidestep.console.headless import output
from sidestep.console.text import ASCII, size


def make(state: Path, file: Path, *, history: bool, as_json: bool) -> None:
    """Write a backup, and say what to keep elsewhere."""
    manifest = backup(state, file, history=history)
    if as_json:
        output.dump({"file": str(file), "digest": manifest.digest(), **msgspec.to_builtins(manifest)})
        return
    total = size(sum(member.bytes for member in manifest.files), ASCII)
    output.say(f"{file}: {len(manifest.files)} files, {total}, placement of generation {manifest.generation}")
    output.say(f"its digest, to be kept elsewhere: {manifest.digest()}")


def put_back(state: Path, file: Path, *, replace: bool, digest: str, reason: str, as_json: bool) -> None:
    """Restore a backup, and say what was there before and what to look at."""
    done = restore(file, state, replace=replace, expected=digest, actor=actor_of(os.geteuid()), reason=reason)
    if as_json:
        output.dump(done)
        return
    output.say(
        f"restored {len(done.manifest.files)} files in {state}, placement of generation {done.manifest.generation}"
    )
    if done.kept:
        output.say(f"what was there is kept in {state / done.kept}")
    output.say("shards that were moved since the backup are left alone and named by the daemon when it starts")
