"""What is installed: every entry point of every group of ours, and what one of them is once it is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import distributions, entry_points

from msgspec import Struct
from msgspec.structs import replace

from sidestep.fleet.errors import UsageError
from sidestep.fleet.extensions import GROUPS, PluginError, load
from sidestep.fleet.labels import Label, scrub


class Plugin(Struct, frozen=True, kw_only=True):
    """One entry point. What is below ``version`` is known only once it was loaded."""

    group: str
    name: Label
    distribution: Label
    version: Label
    target: Label
    says: Label = Label("")
    capabilities: tuple[Label, ...] = ()
    problem: Label = Label("")


def everything() -> tuple[Plugin, ...]:
    """Every plugin of every group; nothing is imported."""
    versions = {each.name: each.version for each in distributions()}
    found = []
    for group in GROUPS:
        for entry in sorted(entry_points(group=group), key=lambda each: str(each.name)):
            owner = entry.dist.name if entry.dist else "?"
            found.append(
                Plugin(
                    group=group,
                    name=scrub(entry.name),
                    distribution=scrub(owner),
                    version=scrub(versions.get(owner, "?")),
                    target=scrub(entry.value),
                )
            )
    return tuple(found)


def about(name: str) -> tuple[Plugin, ...]:
    """Every plugin of that name, loaded; one that fails to load says why. Raises UsageError if there is none."""
    found = [each for each in everything() if each.name == name]
    if not found:
        known = ", ".join(sorted({each.name for each in everything()}))
        raise UsageError(f"no plugin is called {name!r}", hint=f"installed: {known}")
    return tuple(_loaded(each) for each in found)


def _loaded(plugin: Plugin) -> Plugin:
    try:
        thing = load(plugin.group, plugin.name)
    except PluginError as error:
        return replace(plugin, problem=scrub(str(error), 400))
    said = (inspect.getdoc(thing) or "").partition("\n")[0]
    capable = getattr(thing, "capabilities", ())
    names = sorted(scrub(str(each)) for each in capable) if isinstance(capable, frozenset | set | tuple) else []
    return replace(plugin, says=scrub(said), capabilities=tuple(names))


def text(plugins: Sequence[Plugin]) -> list[str]:
    """A line each, and what is known besides below it."""
    lines = []
    for each in plugins:
        lines.append(f"{each.group:<19} {each.name:<16} {each.distribution} {each.version}  {each.target}")
        details = (
            each.says,
            ", ".join(each.capabilities),
            f"✗ CANNOT BE LOADED: {each.problem}" if each.problem else "",
        )
        lines += [f"    {detail}" for detail in details if detail]
    return lines
