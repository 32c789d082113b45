"""Published results of the challenge, and which instances parameters were chosen on."""

from __future__ import annotations

from typing import Final

#: best of 27 teams on B; the winner (S41) on A; 300 s on the challenge's machine of 2012
REFERENCES: Final = {
    "a1_2": 777_912_030,
    "a1_3": 583_006_422,
    "a1_4": 262_125_116,
    "a1_5": 727_578_310,
    "a2_1": 329,
    "a2_2": 746_097_632,
    "a2_3": 1_210_644_572,
    "a2_4": 1_680_615_349,
    "a2_5": 318_358_949,
    "b_1": 3_339_186_879,
    "b_2": 1_015_553_800,
    "b_3": 156_835_787,
    "b_4": 4_677_823_040,
    "b_5": 923_092_380,
    "b_6": 9_525_857_752,
    "b_8": 1_214_458_817,
    "b_9": 15_885_486_698,
}
#: the eight B whose mean score is a goal
MEAN_OF: Final = ("b_1", "b_2", "b_3", "b_4", "b_5", "b_6", "b_8", "b_9")
#: costs that are goals of their own
COSTS: Final = {"b_1": 3_325_000_000}
#: percent of the initial cost that a result may be behind its reference
WITHIN: Final = {"a2_2": 1.0, "a2_3": 1.0}
#: what parameters were chosen on; every other instance was only read at the end
CHOSEN_ON: Final = ("a1_1", "a1_2", "a1_3", "a1_4", "a1_5", "a2_2", "a2_5", "b_1", "b_2", "b_4", "b_9")
#: a small subset for --quick
QUICK: Final = ("a1_4", "a2_2", "b_1")


def split_of(name: str) -> str:
    """``chosen`` for instances that parameters were chosen on, ``check`` for all others."""
    return "chosen" if name in CHOSEN_ON else "check"
