"""Groups and pairs as rows of a program: a rule that holds keeps holding, a broken one is not worsened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sidestep.planning.exact.build import Model


def add_rules(model: Model) -> None:
    """All groups and pairs of which somebody may move."""
    for group in range(len(model.problem.constraints.kind)):
        _group(model, group)
    _pairs(model)


def _group(model: Model, group: int) -> None:
    """At most so many in a domain; where there are too many now nobody comes before enough have left."""
    p, rules, program = model.problem, model.problem.constraints, model.program
    members = rules.members_of(group)
    ways = np.flatnonzero(np.isin(model.shard, members))
    if not len(ways):
        return
    domain, most = rules.domains[rules.kind[group]], int(rules.most[group])
    placed = members[p.host[members] >= 0]
    held = np.bincount(domain[p.host[placed]], minlength=int(domain.max()) + 1)
    going = np.flatnonzero(np.isin(model.row, placed))
    source, target = domain[p.host[model.row[going]]], domain[model.host[ways]]
    for where in np.unique(target).tolist():
        comes, goes = ways[target == where], going[source == where]
        now = int(held[where])
        if now + len(comes) <= most:
            continue
        column = [model.x[comes], model.leave[goes]]
        value = [np.ones(len(comes)), -np.ones(len(goes))]
        if now > most:
            binds = program.variables(1)
            rows = np.arange(len(comes))
            program.add(
                np.concatenate([rows, rows]),
                np.concatenate([model.x[comes], np.repeat(binds, len(comes))]),
                np.concatenate([np.ones(len(comes)), -np.ones(len(comes))]),
                high=np.zeros(len(comes)),
            )
            # without anybody who comes nothing is asked
            column.append(binds)
            value.append(np.array([float(len(comes) + now - most)]))
            high = float(len(comes))
        else:
            high = float(most - now)
        program.row(np.concatenate(column), np.concatenate(value), high=high)


def _pairs(model: Model) -> None:
    """Two that avoid each other are never on one host, unless both are there already and stay."""
    p, program = model.problem, model.program
    ptr, idx = p.constraints.avoids
    first = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    for a, b in zip(first.tolist(), idx.tolist(), strict=True):
        if a < b:
            hosts = np.intersect1d(model.host[model.shard == a], model.host[model.shard == b])
            for host in hosts.tolist():
                program.row(np.array([model.column(a, host), model.column(b, host)]), np.ones(2), high=1.0)
        # a comes to where b is: only if b goes
        here = int(p.host[b])
        column = model.column(a, here) if here >= 0 else -1
        if column < 0:
            continue
        leave = model.column(b)
        if leave < 0:
            program.row(np.array([column]), np.ones(1), high=0.0)
        else:
            program.row(np.array([column, leave]), np.array([1.0, -1.0]), high=0.0)
