"""The reassignment problem as a struct of arrays: where every shard is, may go, and what that costs.

The general form of "rebalance the fleet by cost": hosts with capacities and safety levels,
shards with demand in every dimension, apps whose shards must not share a host, must spread
over failure domains and need other apps nearby. All moves of a plan are thought to run at
once, so that in the transient dimensions a moved shard is held on both its hosts and every
order of the moves is feasible.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: what a cost may at most be, so that every sum stays exact in int64
EXACT = 2**60


@dataclass(frozen=True)
class Reassignment:
    """Hosts H, shards N, dimensions R, apps A, pairs of apps E, balances B; every array is int64.

    Host ``h`` pays ``weight[r]`` for each unit of dimension ``r`` above ``safety[h, r]``, and may
    never hold more than ``capacity[h, r]``. Balance ``(r, s, target)`` pays ``balance_weight``
    for each unit by which free ``s`` falls short of ``target`` times free ``r``.
    An app has at most one shard on a host, shards in at least ``spread`` failure domains, and
    where one of its shards stands, each app it needs has a shard in the same neighbourhood.
    A shard away from ``home`` costs its own move cost, and that of the way between the hosts;
    the app with most moved shards is paid for once, ``app_weight`` a shard.

    Raises ``UsageError`` for shapes that do not fit, indices that lead nowhere, negative
    amounts, and costs too large to be exact.
    """

    capacity: I64  # (H, R)
    safety: I64  # (H, R)
    domain: I64  # (H,) failure domain
    neighbourhood: I64  # (H,)
    transient: Mask  # (R,)
    weight: I64  # (R,)
    demand: I64  # (N, R)
    app: I64  # (N,)
    home: I64  # (N,) host now
    move_cost: I64  # (N,)
    spread: I64  # (A,)
    needs: I64  # (E, 2) app, needed app
    host_move_cost: I64  # (H, H) from, to
    balances: I64  # (B, 3) dimension, dimension, target
    balance_weight: I64  # (B,)
    move_weight: int = 1
    app_weight: int = 0
    host_weight: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                frozen = np.ascontiguousarray(value, dtype=np.bool_ if field.name == "transient" else np.int64)
                frozen = frozen.copy() if frozen is value else frozen
                frozen.setflags(write=False)
                object.__setattr__(self, field.name, frozen)
        self._fit()
        self._point()
        self._count()

    @property
    def hosts(self) -> int:
        """How many hosts there are."""
        return len(self.capacity)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.demand)

    @property
    def apps(self) -> int:
        """How many apps there are."""
        return len(self.spread)

    def _fit(self) -> None:
        if self.capacity.ndim != 2 or not self.capacity.size:
            raise UsageError("a reassignment needs hosts and dimensions", hint="give capacity as (hosts, dimensions)")
        hosts, dims = self.capacity.shape
        shards, apps = len(self.demand), len(self.spread)
        shapes = {
            "safety": (hosts, dims), "domain": (hosts,), "neighbourhood": (hosts,), "transient": (dims,),
            "weight": (dims,), "demand": (shards, dims), "app": (shards,), "home": (shards,),
            "move_cost": (shards,), "spread": (apps,), "needs": (len(self.needs), 2),
            "host_move_cost": (hosts, hosts), "balances": (len(self.balances), 3),
            "balance_weight": (len(self.balances),),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise UsageError(
                    f"{name} has the shape {getattr(self, name).shape}, not {shape}",
                    hint="every array counts the same hosts, shards, dimensions and apps",
                )

    def _point(self) -> None:
        ends = {"domain": None, "neighbourhood": None, "app": self.apps, "home": self.hosts, "needs": self.apps}
        for name, end in ends.items():
            found = getattr(self, name)
            if found.size and (found.min() < 0 or (end is not None and found.max() >= end)):
                raise UsageError(
                    f"{name} holds {int(found.min())} to {int(found.max())}", hint=f"give 0 to {(end or 2**31) - 1}"
                )
        dims = self.balances[:, :2]
        if dims.size and (dims.min() < 0 or dims.max() >= self.capacity.shape[1]):
            raise UsageError("balances name a dimension that is not there", hint="count dimensions from 0")

    def _count(self) -> None:
        for name in ("capacity", "safety", "weight", "demand", "move_cost", "spread", "host_move_cost",
                     "balances", "balance_weight"):  # fmt: skip
            if getattr(self, name).size and getattr(self, name).min() < 0:
                raise UsageError(f"{name} holds a negative amount", hint="amounts and weights are 0 or more")
        if min(self.move_weight, self.app_weight, self.host_weight) < 0:
            raise UsageError("a weight of moves is negative", hint="weights are 0 or more")
        total = self.demand.sum(axis=0, dtype=np.float64)
        room = self.capacity.sum(axis=0, dtype=np.float64)
        worst = float((total * self.weight).sum())
        for (_, second, target), weight in zip(self.balances, self.balance_weight, strict=True):
            worst += float(weight) * (float(target) * float(room.max()) + float(total[second]))
        worst += self.move_weight * float(self.move_cost.sum(dtype=np.float64)) + self.app_weight * self.shards
        worst += self.host_weight * float(self.host_move_cost.max(initial=0)) * self.shards
        if worst > EXACT:
            raise UsageError(
                f"costs of up to {worst:.3g} would not be exact", hint="measure demand or weights in larger units"
            )
