"""Resize before migrate (S3.24): limits of shards on a hot host are lowered in place where that alone relieves it.

Only for shards whose backend can do it, as actions of the plan; for the others it stays advice.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import Action, Limits, Reason
from sidestep.fleet.resources import show_seconds, show_size
from sidestep.planning.build import Built
from sidestep.planning.curves import evidence
from sidestep.planning.exact.check import done
from sidestep.planning.explain import Context, priority
from sidestep.planning.ladder import Allowed
from sidestep.planning.ladder.remedy import Remedy
from sidestep.planning.ladder.resize import shrink
from sidestep.planning.model import State
from sidestep.planning.model.problem import F64


def limits_of(built: Built, backends: Container[str] | None = None) -> tuple[F64, F64]:
    """(N, 2) cores and bytes that shards may use now, and those that they are guaranteed; NaN without a limit.

    With ``backends`` only those of shards that one of these backends runs, and which may be touched now.
    """
    specs = {spec.name: spec for spec in built.rules.fleet.shards}
    now = np.full((built.problem.shards, 2), np.nan)
    least = np.zeros_like(now)
    for row, part in enumerate(built.rows.shards):
        spec = specs.get(built.rules.shard_names[part[0]])
        if spec is None or len(part) != 1 or (backends is not None and spec.backend not in backends):
            continue
        if backends is not None and built.rules.kept[part[0]] in ("BUSY", "SETTLING", "DISPUTED"):
            continue
        now[row] = [spec.limit_cpu or np.nan, spec.limit_memory or np.nan]
        least[row] = [spec.guarantee_cpu, spec.guarantee_memory]
    return now, least


def resize_first(built: Built, backends: Container[str]) -> Built:
    """The problem with what resizing does for predicted contention done, and the duties that are left."""
    if "resize" not in built.policy.kinds:
        return built
    now, least = limits_of(built, backends)
    if np.isnan(now).all():
        return built
    quanta = np.array([built.policy.quantum_cpu, built.policy.quantum_memory], dtype=np.float64)
    allowed = Allowed(limits=now, least=least, quanta=quanta)
    problem, found = built.problem, list[Remedy]()
    # the least gain of a move is measured against the problem that it is made in, which is the shrunk one here
    duties = tuple(replace(duty, gain=0.0) for duty in built.duties)
    for duty in duties:
        problem, more = shrink(problem, duty, allowed)
        found += more
        for one in more:
            now[one.shard] = one.amounts
    if not found:
        return built
    hosts = {one.host for one in found}
    left = tuple(
        duty for duty, bare in zip(built.duties, duties, strict=True)
        if duty.kind != "contention" or duty.host not in hosts or not done(problem, bare, ())
    )  # fmt: skip
    return replace(built, problem=problem, duties=left, resized=_once(found))


def _once(found: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """A shard gets the last limits that were found for it."""
    return tuple({one.shard: one for one in found}.values())


def resizes(context: Context, after: State, moved: tuple[Action, ...]) -> tuple[Action, ...]:
    """The plan's resizes, and after them its moves: those from or to a host wait until it is resized."""
    built = context.built
    if not built.resized:
        return moved
    return ahead(tuple(_action(context, remedy, after, at) for at, remedy in enumerate(built.resized, 1)), moved)


def ahead(made: tuple[Action, ...], moved: tuple[Action, ...]) -> tuple[Action, ...]:
    """Actions on hosts, and after them the others, numbered anew: those from or to such a host wait for it."""
    by_host: dict[str, tuple[int, ...]] = {}
    for action in made:
        by_host[action.source] = (*by_host.get(action.source, ()), action.id)
    shift = len(made)
    later = [
        msgspec.structs.replace(
            action,
            id=action.id + shift,
            wave=action.wave + 1,
            after=tuple(
                sorted({*(a + shift for a in action.after), *by_host.get(action.source, ()),
                        *by_host.get(action.destination, ())})
            ),
        )
        for action in moved
    ]  # fmt: skip
    return (*made, *later)


def limits_from(
    spec: ShardSpec, *, cpu: float, memory: int, read: int | None = None, write: int | None = None
) -> Limits:
    """Other limits for a shard that has those of ``spec``; None leaves one as it is."""
    return Limits(
        cpu=cpu, memory=memory,
        read=spec.limit_read if read is None else read, write=spec.limit_write if write is None else write,
        cpu_before=spec.limit_cpu, memory_before=spec.limit_memory,
        read_before=spec.limit_read, write_before=spec.limit_write,
    )  # fmt: skip


def said(built: Built) -> str:
    """The resizes in a line."""
    names = [str(built.rules.shard_names[built.rows.shards[one.shard][0]]) for one in built.resized]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"resizes {', '.join(names[:3])}{more}" if names else ""


def hosts_of(built: Built) -> frozenset[str]:
    """The hosts whose shards are resized."""
    return frozenset(str(built.rules.host_names[one.host]) for one in built.resized)


def _action(context: Context, remedy: Remedy, after: State, number: int) -> Action:
    built = context.built
    rules, shard = built.rules, built.rows.shards[remedy.shard][0]
    name, host = rules.shard_names[shard], rules.host_names[remedy.host]
    spec = next(one for one in rules.fleet.shards if one.name == name)
    contention = built.contentions[remedy.host][0]
    cpu, memory = float(remedy.amounts[0]), int(remedy.amounts[1])
    now = [(f"{spec.limit_cpu:g}", f"{cpu:g} cores"), (show_size(spec.limit_memory), show_size(memory))]
    changes = ", ".join(
        f"{old} to {new}"
        for (old, new), differ in zip(now, (spec.limit_cpu != cpu, spec.limit_memory != memory), strict=True)
        if differ
    )
    text = (
        f"{name} from {changes}: {host} {contention.dimension} contention in {show_seconds(contention.lead)},"
        " and no move is needed"
    )
    return Action(
        id=number,
        kind="resize",
        shard=name,
        source=host,
        destination=host,
        token=rules.placement.owners[name].token,
        priority=priority(contention, built.policy),
        reason=Reason("RESIZES", scrub(text)),
        evidence=evidence(built, after, contention, context.created),
        latest_start=contention.starts_at - built.policy.margin,
        undo=scrub(f"give {name} its old limits on {host} again"),
        limits=limits_from(spec, cpu=cpu, memory=memory),
    )
