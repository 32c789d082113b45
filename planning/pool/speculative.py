"""Instances for functions that are not there yet, but are expected (S4.13): a small quota, an expiry, an account.

A guess never takes more than its own quota, nor all guesses of a pool together more than the pool's. When
it expires unused its instances go; when its function comes, they are there: a hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from sidestep.fleet.labels import Label
from sidestep.fleet.newwork import SpeculativeWork

#: guesses below that chance are not worth an instance
LEAST_CHANCE: Final = 0.3


class Guess(Struct, frozen=True, kw_only=True):
    """One guess for which instances are held, under a name that is its own until it is settled."""

    name: Label
    pool: Label
    count: int
    since: float
    expires: float
    chance: float
    reason: Label


class Settled(Struct, frozen=True, kw_only=True):
    """What became of a guess."""

    name: Label
    pool: Label
    hit: bool


class Tally(Struct, frozen=True, kw_only=True):
    """How often guesses of one pool were right."""

    hits: int = 0
    misses: int = 0
    open: int = 0

    @property
    def rate(self) -> float:
        """Share of settled guesses that came true; NaN before the first."""
        settled = self.hits + self.misses
        return self.hits / settled if settled else float("nan")


def settle(
    now: float, guesses: Iterable[Guess], present: frozenset[str]
) -> tuple[tuple[Guess, ...], tuple[Settled, ...]]:
    """The guesses that are still open, and those that are settled: their function is ``present``, or they expired."""
    kept, settled = [], []
    for guess in guesses:
        if guess.name in present:
            settled.append(Settled(name=guess.name, pool=guess.pool, hit=True))
        elif now >= guess.expires:
            settled.append(Settled(name=guess.name, pool=guess.pool, hit=False))
        else:
            kept.append(guess)
    return tuple(kept), tuple(settled)


def prepare(
    now: float,
    expected: Sequence[SpeculativeWork],
    guesses: Sequence[Guess],
    pool_of: Mapping[str, str],
    quota: Mapping[str, int],
    lead: Mapping[str, float],
    present: frozenset[str],
) -> tuple[Guess, ...]:
    """New guesses to hold instances for: the likeliest first, while their pools' quotas have room.

    ``pool_of`` names the pool of each app (work of others is prepared by nobody), ``lead`` how many seconds
    before its beginning each pool begins. What is there already, or guessed already, is left alone.
    """
    known = {guess.name for guess in guesses}
    used: dict[str, int] = {}
    for guess in guesses:
        used[guess.pool] = used.get(guess.pool, 0) + guess.count
    made: list[Guess] = []
    for work in sorted(expected, key=lambda each: (-each.chance, each.begins, each.name)):
        pool = pool_of.get(work.app) or pool_of.get(work.template)
        if pool is None or work.name in known or work.name in present or work.chance < LEAST_CHANCE:
            continue
        if now >= work.expires or work.begins - now > lead[pool]:
            continue
        count = min(work.quota, quota[pool] - used.get(pool, 0))
        if count <= 0:
            continue
        used[pool] = used.get(pool, 0) + count
        known.add(work.name)
        made.append(
            Guess(
                name=work.name, pool=Label(pool), count=count, since=now, expires=work.expires, chance=work.chance,
                reason=work.reason,
            )
        )  # fmt: skip
    return tuple(made)
