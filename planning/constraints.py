"""Constraints of plugins: which hosts the shards of a group may not be on, asked once for every problem.

A constraint is made for one fleet (``About``) and answers with groups and masks, so that nothing of it is asked
host by host or shard by shard. What it forbids narrows the rows' own sets of hosts, and from there on it is a hard
constraint like those of the fleet file: kept by every search, by the order of moves and by places, repaired first
where it is broken, and never worsened. One that fails has the last word, too: nothing is planned without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.planning.goals.about import About
from sidestep.planning.model import Constraints
from sidestep.planning.model.constraints import I64, Mask

#: groups that one constraint may have, and hosts times groups
MOST_GROUPS: Final = 4096
MOST_CELLS: Final = 1 << 24


@runtime_checkable
class Constraint(Protocol):
    """What says where shards may not be; made by a call with an ``About``.

    It depends on what is declared only: what it answers holds for a whole plan, wherever shards are by then.
    """

    def forbidden(self) -> tuple[I64, Mask]:
        """(N,) the group of every shard, whole numbers, -1 for none; and (G, H) true where a group may not be."""


ConstraintMaker = Callable[[About], Constraint]


class ConstraintFault(SidestepError):
    """A constraint that the policy names cannot be judged: there is no plan, rather than one without it."""

    def __init__(self, name: str, why: str) -> None:
        hint = f"mend its plugin, or take {name} out of the policy's constraints"
        super().__init__(f"constraint {name} cannot be judged: {why}", hint=hint)


@dataclass(frozen=True, eq=False)
class _Verdict:
    name: Label
    #: (N,) and (G, H)
    group: I64
    hosts: Mask


@dataclass(frozen=True, eq=False)
class Judged:
    """What the constraints of a policy say of one fleet's shards."""

    verdicts: tuple[_Verdict, ...] = ()

    def against(self, shards: Sequence[int], host: int) -> tuple[Label, ...]:
        """The constraints that keep any of these shards from a host, in the policy's order."""
        return tuple(
            one.name
            for one in self.verdicts
            if any((group := int(one.group[shard])) >= 0 and one.hosts[group, host] for shard in shards)
        )

    def nowhere(self, shards: Sequence[int]) -> tuple[Label, ...]:
        """The constraints that by themselves keep these shards from every host."""
        found = []
        for one in self.verdicts:
            groups = one.group[list(shards)]
            if one.hosts.shape[1] and one.hosts[groups[groups >= 0]].any(axis=0).all():
                found.append(one.name)
        return tuple(found)

    def narrow(self, rules: Constraints, rows: Sequence[Sequence[int]]) -> Constraints:
        """The rules of a problem's rows without the hosts that are forbidden to any shard of a row."""
        if not self.verdicts or not rows:
            return rules
        masks, mask = rules.masks, rules.mask.copy()
        size = np.array([len(part) for part in rows], dtype=np.int64)
        start = np.concatenate([[0], np.cumsum(size)[:-1]])
        flat = np.array([shard for part in rows for shard in part], dtype=np.int64)
        for one in self.verdicts:
            for place in range(int(size.max())):
                at = np.flatnonzero(size > place)
                group = one.group[flat[start[at] + place]]
                at, group = at[group >= 0], group[group >= 0]
                pairs, which = np.unique(np.stack([mask[at], group]), axis=1, return_inverse=True)
                mask[at] = len(masks) + which.ravel()
                masks = np.concatenate([masks, masks[pairs[0]] & ~one.hosts[pairs[1]]])
            used, which = np.unique(mask, return_inverse=True)
            masks, mask = masks[used], which.ravel().astype(np.int32)
        return replace(rules, masks=masks, mask=mask)


#: nothing but what the fleet file says
NO_CONSTRAINTS: Final = Judged()


def judge(names: Sequence[str], about: About, makers: Mapping[str, ConstraintMaker] | None) -> Judged:
    """What every constraint of a policy says. Raises ConstraintFault for the first that cannot be judged."""
    return Judged(tuple(_ask(name, about, makers or {}) for name in dict.fromkeys(names)))


def _ask(name: str, about: About, makers: Mapping[str, ConstraintMaker]) -> _Verdict:
    if name not in makers:
        raise ConstraintFault(name, "no plugin that could be loaded has it")
    try:
        said: Any = makers[name](about).forbidden()
        first, second = said
        group, hosts = np.asarray(first), np.asarray(second)
    except Exception as error:  # a plugin may raise anything
        raise ConstraintFault(name, f"{type(error).__name__}: {error}") from error
    wrong = _nonsense(group, hosts, len(about.names), len(about.hosts))
    if wrong:
        raise ConstraintFault(name, wrong)
    return _Verdict(scrub(name), group.astype(np.int64), hosts.copy())


def _nonsense(group: np.ndarray[Any, Any], hosts: np.ndarray[Any, Any], shards: int, count: int) -> str:
    """What is wrong with an answer, or ""."""
    if group.dtype.kind not in "iu" and group.size:
        return f"its groups are {group.dtype}, not whole numbers"
    if group.shape != (shards,):
        return f"it has groups for {group.shape}, not for {shards} shards"
    if hosts.dtype != np.bool_ or hosts.ndim != 2 or hosts.shape[1] != count:
        return f"its mask is {hosts.dtype} of {hosts.shape}, not of booleans, a row each group and {count} hosts wide"
    if len(hosts) > MOST_GROUPS or hosts.size > MOST_CELLS:
        return f"it has {len(hosts)} groups; the most is {MOST_GROUPS}, and {MOST_CELLS} times a group and a host"
    if group.size and not -1 <= int(group.min()) <= int(group.max()) < len(hosts):
        return f"its groups reach from {group.min()} to {group.max()}, and its mask has {len(hosts)}"
    return ""


def refusal(fleet: FleetSpec, makers: Mapping[str, ConstraintMaker], shard: str, host: str) -> str:
    """Why the fleet's policy keeps a declared shard from a declared host, or "". Raises ConstraintFault."""
    return "; ".join(refusals(fleet, makers, [(shard, host)]))


def refusals(
    fleet: FleetSpec, makers: Mapping[str, ConstraintMaker], pairs: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """The same of several shards and hosts, a line each that is forbidden; what is not declared is not judged."""
    if not fleet.policy.constraints:
        return ()
    about = About.declared(fleet)
    judged = judge(fleet.policy.constraints, about, makers)
    shards = {name: row for row, name in enumerate(about.names)}
    hosts = {name: row for row, name in enumerate(about.hosts)}
    lines = []
    for shard, host in pairs:
        if shard in shards and host in hosts and (forbids := judged.against([shards[shard]], hosts[host])):
            lines.append(f"constraint {forbids[0]} forbids {shard} on {host}")
    return tuple(lines)
