"""The tables ``[action.NAME]``: several files made one, and what is missing or not known."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sidestep.fleet.actions import ActionSpec
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_tables import Declared, by_name, closest, merged, named
from sidestep.fleet.extensions import ACTIONS, Plugged
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import scrub


def read_actions(
    declared: Sequence[Declared],
    shards: Sequence[ShardSpec],
    shard_names: Collection[str],
    unsure: Collection[str | None],
    plugged: Plugged | None,
    problems: Problems,
) -> tuple[ActionSpec, ...]:
    """The actions without fault, in the order of the files; ``plugged`` None takes any name for a plugin's.

    ``shard_names`` are also those of shards with faults, and ``unsure`` their apps (None for one that is not known).
    """
    parts = by_name(declared, problems)
    plugins = plugged(ACTIONS) if plugged is not None and parts else None
    apps = {str(shard.app) for shard in shards} | {app for app in unsure if app is not None}
    found = []
    for name, tables in parts.items():
        spec = _action(name, tables, plugins, problems)
        if spec is None:
            continue
        for key, listed, known in (("shards", spec.shards, shard_names), ("apps", spec.apps, apps)):
            for each in listed:
                if each not in known and (key == "shards" or None not in unsure):
                    said = f"is no {key.removesuffix('s')} of this fleet"
                    problems.add(("action", name, key), each, said, closest(each, sorted(known)))
        found.append(spec)
    return tuple(found)


def _action(
    name: str, tables: Sequence[Declared], plugins: Collection[str] | None, problems: Problems
) -> ActionSpec | None:
    path = ("action", name)
    if not named(path, tables, problems):
        return None
    values, written, faultless = merged(tables)
    plugin = values.get("plugin", name)
    if plugins is not None and plugin not in plugins and ("plugin" not in written or "plugin" in values):
        hint = f"{closest(plugin, sorted(plugins))}; its package must be installed here"
        problems.add((*path, "plugin"), plugin, "is no action of a plugin", hint)
        return None
    if faultless and not values.get("apps") and not values.get("shards"):
        problems.add(path, None, "names neither apps nor shards", 'write apps = ["batch"]', tables[0].document)
        return None
    return ActionSpec(**{"plugin": name, **values}, name=scrub(name)) if faultless else None
