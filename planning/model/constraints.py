"""Hard constraints between shards and hosts, as arrays: who may be where, beside whom.

Three kinds: hosts that a shard may be on at all (pins, required labels); groups of which at
most so many may be in one failure domain (anti-affinity of an app: one a host, one a zone);
and pairs that must never share a host. Shards that must stay together are one row of the
problem (a bundle), so they need no rule here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Constraints:
    """The rules of one problem. ``domains[k, h]`` numbers the domain of kind k that host h is in.

    CSR pairs ``(ptr, idx)``: row i has ``idx[ptr[i]:ptr[i + 1]]``.
    """

    #: (K, H); kind 0 is the host itself
    domains: I32
    #: (M, H) sets of hosts, and (N,) which of them a shard may be on
    masks: Mask
    mask: I32
    #: groups of each shard, members of each group; (G,) kind of domain, and most members in one
    groups: tuple[I64, I32]
    members: tuple[I64, I32]
    kind: I32
    most: I32
    #: shards that must not share a host with this one; symmetric
    avoids: tuple[I64, I32]

    @classmethod
    def make(
        cls,
        hosts: int,
        shards: int,
        *,
        domains: I32 | None = None,
        masks: Mask | None = None,
        mask: I32 | None = None,
        groups: Sequence[tuple[int, int, Iterable[int]]] = (),
        pairs: Iterable[tuple[int, int]] = (),
    ) -> Constraints:
        """From lists: ``groups`` are (kind, most, members), ``pairs`` are rows that avoid each other."""
        own = np.arange(hosts, dtype=np.int32)[None]
        members = [np.unique(np.fromiter(rows, dtype=np.int32)) for _, _, rows in groups]
        row = np.concatenate([*members, np.zeros(0, np.int32)])
        group = np.repeat(np.arange(len(members), dtype=np.int32), [len(m) for m in members])
        both = np.array([*pairs], dtype=np.int32).reshape(-1, 2)
        both = np.unique(np.concatenate([both, both[:, ::-1]]), axis=0)
        return cls(
            domains=own if domains is None else domains,
            masks=np.ones((1, hosts), dtype=np.bool_) if masks is None else masks,
            mask=np.zeros(shards, dtype=np.int32) if mask is None else mask,
            groups=_csr(row, group, shards),
            members=_csr(group, row, len(members)),
            kind=np.array([k for k, _, _ in groups], dtype=np.int32),
            most=np.array([m for _, m, _ in groups], dtype=np.int32),
            avoids=_csr(both[:, 0], both[:, 1], shards),
        )

    @cached_property
    def widths(self) -> list[int]:
        """How many numbers the domains of each kind take."""
        return [int(domain.max(initial=-1)) + 1 for domain in self.domains]

    def groups_of(self, shard: int) -> I32:
        """The groups that a shard is in."""
        ptr, idx = self.groups
        return idx[ptr[shard] : ptr[shard + 1]]

    def members_of(self, group: int) -> I32:
        """The shards of a group."""
        ptr, idx = self.members
        return idx[ptr[group] : ptr[group + 1]]

    def avoided(self, shard: int) -> I32:
        """The shards that must not share a host with this one."""
        ptr, idx = self.avoids
        return idx[ptr[shard] : ptr[shard + 1]]

    def blocked(self, at: I32, shard: int) -> Mask:
        """(H,) hosts where the shard may not be, given where the others are (``at``, -1 nowhere).

        A domain that already holds too many is blocked too: a broken rule is never worsened.
        """
        out: Mask = ~self.masks[self.mask[shard]]
        for group in self.groups_of(shard).tolist():
            domain = self.domains[self.kind[group]]
            others = self.members_of(group)
            hosts = at[others[others != shard]]
            held = np.bincount(domain[hosts[hosts >= 0]], minlength=self.widths[self.kind[group]])
            out |= held[domain] >= self.most[group]
        hosts = at[self.avoided(shard)]
        out[hosts[hosts >= 0]] = True
        return out

    def broken(self, at: I32) -> list[tuple[str, int, tuple[int, ...]]]:
        """What is broken: ("group", group, the members of one domain that are too many together),
        ("avoid", -1, the pair) and ("host", -1, (shard,)) for a shard where it may not be."""  # fmt: skip
        found: list[tuple[str, int, tuple[int, ...]]] = []
        placed = np.flatnonzero(at >= 0)
        wrong = placed[~self.masks[self.mask[placed], at[placed]]]
        found += [("host", -1, (row,)) for row in wrong.tolist()]
        ptr, idx = self.members
        group = np.repeat(np.arange(len(self.kind)), np.diff(ptr))
        keep = at[idx] >= 0
        group, row = group[keep], idx[keep]
        if len(group):
            domain = self.domains[self.kind[group], at[row]]
            keys, where, counts = np.unique(np.stack([group, domain]), axis=1, return_inverse=True, return_counts=True)
            for key in np.flatnonzero(counts > self.most[keys[0]]).tolist():
                found.append(("group", int(keys[0, key]), tuple(row[where.ravel() == key].tolist())))
        ptr, idx = self.avoids
        first = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
        same = (first < idx) & (at[first] == at[idx]) & (at[idx] >= 0)
        found += [("avoid", -1, (a, b)) for a, b in zip(first[same].tolist(), idx[same].tolist(), strict=True)]
        return found


def _csr(row: NDArray[np.int32], value: NDArray[np.int32], rows: int) -> tuple[I64, I32]:
    order = np.lexsort((value, row))
    ptr = np.searchsorted(row[order], np.arange(rows + 1)).astype(np.int64)
    return ptr, value[order].astype(np.int32)
