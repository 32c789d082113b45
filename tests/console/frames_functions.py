"""Functions that run: the part of the console tests' daemon that has some."""

from __future__ import annotations

from frames_oracle import START

from sidestep.autopilot.protocol_functions import FunctionsView
from sidestep.fleet.functionruns import BlockRow, BlockState, FunctionLoop, FunctionRow, FunctionRun
from sidestep.fleet.labels import Label

LOOPS = (
    FunctionLoop(12, 0, "doall", Label(""), Label("for i in range(n):")),
    FunctionLoop(13, 1, "reduction", Label(""), Label("for j in range(n):")),
    FunctionLoop(
        20, 0, "sequential", Label("loop-carried-scalar (energy)"), Label("for step in range(steps):"),
    ),
    FunctionLoop(27, 0, "refused", Label("io (print(line))"), Label("for line in report:")),
)  # fmt: skip


def block(name: str, state: BlockState, host: str = "h2", *, said: str = "", every: float = 1.0) -> BlockRow:
    """A call. ``said`` is what others say in every place that can."""
    ended = START - 5 if state in {"ENDED", "FAILED"} else 0.0
    kept = every > 0 and not ended
    return BlockRow(
        name=name, state=state, hosts=(Label(host),), token=3, began=START - 90.0, ended=ended, cpu_s=71.5, every=every,
        at=Label(said or "relaxed") if kept else Label(""), line=21 if kept else 0, sequence=44 if kept else 0,
        captured=START - 0.4 if kept else 0.0, nbytes=10 << 20 if kept else 0,
        holders=(Label(host), Label("h3")) if kept else (), target=Label("h4" if state == "MOVING" else ""), moves=1,
        sharded=2 if ended else 0,
        events=(Label(said or "h1 was lost: 0.4 s of work, went on after 0.1 s (its connection ended)"),
                Label("moved from h2 to h3")),
    )  # fmt: skip


def run(said: str = "", pid: int = 4711) -> FunctionRun:
    """A process with two functions."""
    relax = FunctionRow(
        name=Label(said or "relaxed"), file=Label("heat.py"), loops=LOOPS,
        blocks=(block("b1", "RUNNING", said=said), block("b2", "MOVING", said=said), block("b3", "ENDED")),
    )  # fmt: skip
    lone = FunctionRow(
        name=Label("report"), file=Label("heat.py"), problem=Label(said),
        blocks=(block("b4", "STARTING", every=0.0), block("b5", "FAILED", said=said or "ended by ValueError: no rows")),
    )  # fmt: skip
    return FunctionRun(
        pid=pid, time=START, functions=(relax, lone), waiting=2, hosts=tuple(map(Label, ("h1", "h2", "h3", "h4")))
    )


FUNCTIONS = FunctionsView(time=START, runs=(run(),))
