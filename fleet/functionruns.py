"""Functions that run on hosts of a fleet, as whoever runs them shows them to its daemon and console."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from sidestep.fleet.labels import Label

BlockState = Literal["STARTING", "RUNNING", "MOVING", "ENDED", "FAILED"]
BLOCK_STATES: Final[tuple[BlockState, ...]] = ("FAILED", "MOVING", "STARTING", "RUNNING", "ENDED")


class FunctionLoop(Struct, frozen=True):
    """A loop of the function: its line, how deep it stands, its verdict, and why it is no shards (codes and texts)."""

    line: int
    depth: int
    verdict: str
    why: Label = Label("")
    #: its first line as written
    text: Label = Label("")


class BlockRow(Struct, frozen=True, kw_only=True):
    """One call while it runs, and for a while after. Times are unix seconds, 0 for none; ``work`` is seconds.

    The progress watermark is what the newest capsule holds: the line of the innermost function (``at``), its number,
    the processor seconds. ``captured`` is when it was taken: what came after it is lost with the host.
    """

    name: str
    state: BlockState
    hosts: tuple[Label, ...]
    token: int
    began: float
    ended: float = 0.0
    cpu_s: float = 0.0
    #: the wish for capsules: seconds of work that a loss may cost, 0 keeps none; hosts that hold the newest one
    every: float = 0.0
    at: Label = Label("")
    line: int = 0
    sequence: int = 0
    captured: float = 0.0
    nbytes: int = 0
    holders: tuple[Label, ...] = ()
    target: Label = Label("")
    moves: int = 0
    #: loops that ran as shards, and why others did not; known at the end
    sharded: int = 0
    #: why it cannot be suspended
    unsuited: Label = Label("")
    #: what happened: losses and moves, oldest first
    events: tuple[Label, ...] = ()


class FunctionRow(Struct, frozen=True, kw_only=True):
    """A function, its loops, and its calls."""

    name: Label
    file: Label
    loops: tuple[FunctionLoop, ...] = ()
    #: why nothing is known of its loops
    problem: Label = Label("")
    blocks: tuple[BlockRow, ...] = ()


class FunctionRun(Struct, frozen=True, kw_only=True):
    """What one process runs: its number, its user's word for it, when it said so, and calls that wait for a place."""

    pid: int
    time: float
    functions: tuple[FunctionRow, ...]
    waiting: int = 0
    hosts: tuple[Label, ...] = ()
