"""Every fuzz target holds over mutations of its seeds, so that none rots between runs of ``make fuzz``."""

from __future__ import annotations

import importlib
import random

import pytest

from scripts.fuzz import TARGETS

ROUNDS = 300
TOKENS = (b"-", b" ", b"\n", b"\x01", b"V 9 9000", b"K 36 10 a,b\n", b"[", b"=", b'"', b"\xff", b"\x1b[2J", b"9" * 21)


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at:at] = chance.choice(TOKENS)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 2 and at < len(data):
            data[at] = chance.randrange(256)
        else:
            data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randrange(60)]
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_keeps_its_promises_over_mutated_seeds(target: str) -> None:
    module = importlib.import_module(f"scripts.fuzz.{target}")
    seeds = list(module.seeds())
    module.run(b"")
    for seed in seeds:
        module.run(seed)
    for number in range(ROUNDS):
        chance = random.Random(f"{target} {number}")
        data = mutated(chance.choice(seeds), chance)
        try:
            module.run(data)
        except Exception as error:
            raise AssertionError(f"{target} breaks on {data!r}") from error
