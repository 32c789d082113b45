"""Requests of a kind that nothing serves and that become more: what known work are they like (S4.13 b)?

A class of requests rises when its newest counts are too many for the ones before, by a test
for counts. It is compared with templates by words and numbers, and the best that is like it
enough makes a guess with a small quota that soon expires.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.fleet.labels import scrub
from sidestep.fleet.newwork import HitRate, RequestClass, SpeculativeWork, Template

#: classes that are counted, intervals of each that are kept, and those of them that are "new"
CLASSES: Final = 2048
KEPT: Final = 16
NEW: Final = 3
#: a class rises when its new counts stand out by so many deviations, are so many times the old ones, and so many
DEVIATIONS: Final = 4.0
TIMES: Final = 2.0
FEWEST: Final = 20.0
#: words and numbers must be alike at least so much
ALIKE: Final = 0.25
#: what a guess is good for: instances, seconds
QUOTA: Final = 1
EXPIRES: Final = 900.0
#: templates that are compared
TEMPLATES: Final = 4096
_WORDS: Final = re.compile(r"[a-z]{2,}")


class _Class(Struct):
    counts: list[float] = []
    seconds: list[float] = []


class _Guess(Struct):
    name: str
    rate: float
    expires: float


class _State(Struct):
    classes: dict[str, _Class]
    guesses: list[_Guess]
    hits: int
    misses: int


class TemplateMatcher:
    """Counts unserved requests by class, and matches those that rise to known work."""

    def __init__(self) -> None:
        self._classes: dict[str, _Class] = {}
        self._latest: dict[str, RequestClass] = {}
        self._guesses: list[_Guess] = []
        self._hits = self._misses = 0

    def observe(self, time: float, seconds: float, classes: Sequence[RequestClass]) -> None:
        """So many requests of each class came in the ``seconds`` up to ``time``; a class not named had none.

        Raises ValueError for an interval that is no time.
        """
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"an interval of {seconds} s")
        self._latest = {}
        for each in classes:
            if each.served:
                self._classes.pop(each.name, None)
                self._settle_served(each.name)
            elif math.isfinite(each.count) and each.count >= 0:
                self._latest[each.name] = each
        for name in self._latest:
            if name not in self._classes and self._room():
                self._classes[name] = _Class([], [])
        for name, seen in list(self._classes.items()):
            latest = self._latest.get(name)
            seen.counts = [*seen.counts, latest.count if latest else 0.0][-KEPT:]
            seen.seconds = [*seen.seconds, seconds][-KEPT:]
            if not any(seen.counts):
                del self._classes[name]
        self._settle(time)

    def _room(self) -> bool:
        """Whether one more class can be counted; the one with the fewest requests goes, unless it is a guess."""
        if len(self._classes) < CLASSES:
            return True
        guessed = {guess.name for guess in self._guesses}
        free = [(sum(seen.counts), name) for name, seen in self._classes.items() if name not in guessed]
        if not free or min(free)[0] > FEWEST:
            return False
        del self._classes[min(free)[1]]
        return True

    def rising(self) -> tuple[str, ...]:
        """Classes whose requests have become more than chance explains, the strongest first."""
        found = [(growth(seen.counts, seen.seconds), name) for name, seen in self._classes.items()]
        return tuple(name for strength, name in sorted(found, reverse=True) if strength >= DEVIATIONS)

    def proposals(self, now: float, templates: Sequence[Template]) -> tuple[SpeculativeWork, ...]:
        """Guesses for rising classes that are like a template; settled when they expire, or when something serves."""
        found: list[SpeculativeWork] = []
        settled = self._hits + self._misses
        right = (self._hits + 1.0) / (settled + 2.0)
        for name in self.rising():
            latest = self._latest.get(name)
            if latest is None or not templates:
                continue
            scored = [(alike(latest, template), template) for template in templates[:TEMPLATES]]
            score, best = max(scored, key=lambda pair: pair[0])
            if score < ALIKE:
                continue
            seen = self._classes[name]
            rate = sum(seen.counts[-NEW:]) / sum(seen.seconds[-NEW:])
            guess = next((each for each in self._guesses if each.name == name), None)
            if guess is None:
                guess = _Guess(name, rate, now + EXPIRES)
                self._guesses.append(guess)
            found.append(
                SpeculativeWork(
                    name=scrub(name),
                    app=best.app,
                    kind="template",
                    begins=now,
                    lasts=guess.expires - now,
                    chance=min(1.0, score) * right,
                    demand=best.demand,
                    quota=QUOTA,
                    expires=guess.expires,
                    reason=scrub(
                        f"requests rise to {rate:.3g}/s and nothing serves them; like {best.name} ({score:.0%})"
                    ),
                    template=best.name,
                )
            )
        return tuple(found)

    def _settle_served(self, name: str) -> None:
        """Something serves it now: the guess was right."""
        before = len(self._guesses)
        self._guesses = [guess for guess in self._guesses if guess.name != name]
        self._hits += before - len(self._guesses)

    def _settle(self, time: float) -> None:
        """A guess that expires was right if at least half of its requests still come."""
        for guess in [each for each in self._guesses if each.expires <= time]:
            seen = self._classes.get(guess.name)
            rate = sum(seen.counts[-NEW:]) / sum(seen.seconds[-NEW:]) if seen else 0.0
            self._hits += rate >= guess.rate / 2
            self._misses += rate < guess.rate / 2
            self._guesses.remove(guess)

    def hit_rate(self) -> HitRate:
        """How often guesses were right."""
        return HitRate(kind="template", hits=self._hits, misses=self._misses, open=len(self._guesses))

    def state(self) -> bytes:
        """Everything, as JSON."""
        return msgspec.json.encode(_State(self._classes, self._guesses, self._hits, self._misses))

    def restore(self, data: bytes) -> None:
        """Go on from what ``state`` gave. Raises ValueError for what is not that."""
        try:
            found = msgspec.json.decode(data, type=_State)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not the state of a matcher: {error}") from error
        if len(found.classes) > CLASSES or any(len(c.counts) != len(c.seconds) for c in found.classes.values()):
            raise ValueError("not the state of a matcher: its classes do not fit")
        self._classes, self._guesses = found.classes, found.guesses
        self._hits, self._misses = found.hits, found.misses


def growth(counts: Sequence[float], seconds: Sequence[float]) -> float:
    """How many deviations the newest counts stand out of those before; 0 where they are few or hardly more.

    Roots of counts have the same variance whatever the rate, so that a test for small counts
    is one for large ones. Requests come in bursts: the scatter of the intervals before counts
    where it is above what chance alone gives.
    """
    new, old = counts[-NEW:], counts[:-NEW]
    long, before = sum(seconds[-NEW:]), sum(seconds[:-NEW])
    if len(new) < NEW or sum(new) < FEWEST or long <= 0:
        return 0.0
    rate = sum(old) / before if before > 0 else 0.0
    if sum(new) / long < TIMES * rate or min(new) < sum(new) / NEW / 4:
        return 0.0
    if before <= 0:
        return 0.0
    usual = [rate * each for each in seconds[:-NEW]]
    scatter = sum((a - b) ** 2 / max(b, 1.0) for a, b in zip(old, usual, strict=True)) / max(1, len(old) - 1)
    part = long / before
    lift = 2 * (math.sqrt(sum(new) + 0.375) - math.sqrt((sum(old) + 0.375) * part))
    return lift / math.sqrt((1 + part) * max(1.0, scatter))


def alike(requests: RequestClass, template: Template) -> float:
    """0 to 1: shared words, and how near numbers of the same name are."""
    mine, its = _words(requests.name, requests.words), _words(template.name, template.words)
    words = len(mine & its) / len(mine | its) if mine | its else 0.0
    shared = [name for name in requests.numbers if name in template.numbers]
    near = [_near(requests.numbers[name], template.numbers[name]) for name in shared]
    if not near:
        return words
    return 0.6 * words + 0.4 * sum(near) / len(near)


def _words(name: str, words: Sequence[str]) -> set[str]:
    return set(_WORDS.findall(" ".join((name, *words))[:2000].lower()))


def _near(a: float, b: float) -> float:
    """1 for equal sizes, a half for twice or half."""
    if not (math.isfinite(a) and math.isfinite(b)) or a <= 0 or b <= 0:
        return 1.0 if a == b else 0.0
    return math.pow(2.0, -abs(math.log2(a) - math.log2(b)))
