"""Automation levels of the fleet, its apps, shards and hosts: what is declared, what people set, what holds. Pure.

The most cautious of all that concern an action holds: the fleet's, its app's, its shard's and
those of both hosts. What people set lasts as long as the fleet file says what it said then: who
edits the file means it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from sidestep.autopilot.trust.gate import LEVELS, lower
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec, Level
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.nearest import near
from sidestep.fleet.plans import Action

Scope = Literal["fleet", "app", "shard", "host"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
#: the name of the one thing in scope "fleet"
FLEET: Final = ""


class Setting(Struct, frozen=True, kw_only=True):
    """What somebody set, and what the fleet file said of it then ("" for nothing)."""

    level: Level
    declared: str
    actor: Label
    reason: Label = Label("")
    at: float = 0.0


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that was set, by scope and name."""

    version: Literal[1] = 1
    by: dict[Scope, dict[str, Setting]] = {}


class Row(Struct, frozen=True, kw_only=True):
    """One level for people to read: whose, what it is, who set it; the fleet file where nobody did."""

    scope: Scope
    name: Label
    level: str
    actor: Label = Label("")
    reason: Label = Label("")
    at: float = 0.0


class Held(NamedTuple):
    """The level that holds of an action, and whose it is ("app kv")."""

    level: str
    whose: str


class Levels:
    """The levels of one fleet. Nothing in here asks what trust allows."""

    def __init__(self, fleet: FleetSpec, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.switch(fleet)

    def switch(self, fleet: FleetSpec) -> None:
        """Go by another fleet file; what was set against another declaration is forgotten."""
        self._apps = {str(shard.name): str(shard.app) for shard in fleet.shards}
        self._declared: dict[Scope, dict[str, str]] = {
            "fleet": {FLEET: fleet.level},
            "app": {**dict.fromkeys(self._apps.values(), ""), **{str(a): str(level) for a, level in fleet.app_levels}},
            "shard": {str(shard.name): shard.level for shard in fleet.shards},
            "host": {str(host.name): host.level for host in fleet.hosts},
        }
        self.recall(self.settings)

    def recall(self, settings: Settings) -> None:
        """Go by what was set, as far as the fleet file still says what it said then."""
        kept = {
            scope: {name: one for name, one in named.items() if self._declared[scope].get(name) == one.declared}
            for scope, named in settings.by.items()
        }
        self.settings = Settings(by=kept)

    def level(self, scope: Scope = "fleet", name: str = FLEET) -> str:
        """What holds of one thing by itself; "" for nothing of its own."""
        found = self.settings.by.get(scope, {}).get(name)
        return found.level if found is not None else self._declared[scope].get(name, "")

    def put(self, scope: Scope, name: str, level: str, *, actor: Label, reason: str, at: float) -> Settings:
        """The settings with one more; level "" takes back what was set. Raises UsageError."""
        self.known(scope, name)
        named = dict(self.settings.by.get(scope, {}))
        if not level:
            named.pop(name, None)
        else:
            named[name] = Setting(
                level=level_of(level),
                declared=self._declared[scope][name],
                actor=actor,
                reason=scrub(reason, 500),
                at=at,
            )
        return Settings(by={**self.settings.by, scope: named})

    def known(self, scope: str, name: str) -> None:
        """Return if there is such a thing. Raises UsageError."""
        if scope not in SCOPES:
            raise UsageError(f"no scope {scrub(scope)}", hint=f"scopes: {', '.join(SCOPES)}")
        if name not in self._declared[scope]:
            raise UsageError(f"no {scope} {scrub(name)}", hint=near(name, list(self._declared[scope])))

    def of(self, action: Action) -> Held:
        """The most cautious level that concerns the action, and whose it is."""
        shard = str(action.shard)
        held = Held(self.level(), "fleet")
        concerned: list[tuple[Scope, str]] = [("host", str(action.source)), ("host", str(action.destination))]
        if shard:
            concerned = [("app", self._apps.get(shard, "")), ("shard", shard), *concerned]
        for scope, name in concerned:
            own = self.level(scope, name)
            if own and lower(own, held.level) != held.level:
                held = Held(own, f"{scope} {name}")
        return held

    def off(self) -> frozenset[str]:
        """Shards and hosts for which nothing is to be proposed."""
        hosts = {name for name in self._declared["host"] if self.level("host", name) == "off"}
        shards = {
            shard for shard, app in self._apps.items() if "off" in (self.level("app", app), self.level("shard", shard))
        }
        return frozenset(hosts | shards)

    def rows(self) -> tuple[Row, ...]:
        """The fleet's level, and every other that is not just the fleet's."""
        found = []
        for scope in SCOPES:
            for name in self._declared[scope]:
                level, set_by = self.level(scope, name), self.settings.by.get(scope, {}).get(name)
                if not level:
                    continue
                row = Row(scope=scope, name=scrub(name), level=level)
                if set_by is not None:
                    row = msgspec.structs.replace(row, actor=set_by.actor, reason=set_by.reason, at=set_by.at)
                found.append(row)
        return tuple(found)


def level_of(text: str) -> Level:
    """The level of that name. Raises UsageError."""
    for level in get_args(Level):
        if level == text:
            return level  # type: ignore[no-any-return]
    raise UsageError(f"no level {scrub(text)}", hint=f"levels: {', '.join(LEVELS)}")


def most_cautious(levels: Mapping[int, Held]) -> Held:
    """The most cautious of several actions' levels; full for none."""
    return min(levels.values(), key=lambda held: LEVELS.index(held.level), default=Held("full", "fleet"))


def scope_of(text: str) -> Scope:
    """The scope of that name. Raises UsageError."""
    for scope in SCOPES:
        if scope == text:
            return scope
    raise UsageError(f"no scope {scrub(text)}", hint=f"scopes: {', '.join(SCOPES)}")
