"""Whatever was done, a journal that is opened again says the same; also one whose daemon was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import OPERATOR, Bench, an_action

from sidestep.autopilot.audit_verify import verify
from sidestep.autopilot.journal import Journal
from sidestep.backends.base import StepResult
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState

Operation = tuple[str, int]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "state", "begin", "action", "step", "end", "fail", "undo", "commit", "endpoint", "act"]
        ),
        st.integers(0, 16),
    ),
    max_size=25,
)


def picture(journal: Journal) -> tuple[object, ...]:
    """Everything that a daemon learns from its journal."""
    return (
        journal.placement(),
        journal.endpoints(),
        journal.plans(),
        journal.events(0, 5000),
        journal.audit_lines(),
        journal.audit_head(),
    )


def apply(bench: Bench, operation: Operation) -> None:
    """One thing that may happen; what its machine does not allow is refused and changes nothing."""
    name, value = operation
    journal, digest = bench.journal, bench.journal.plans()[0][1].digest
    step, action = MOVE_STEPS[value % len(MOVE_STEPS)], tuple(ActionState)[value % len(ActionState)]
    does: dict[str, Callable[[], object]] = {
        "add": lambda: journal.add(bench.plan(an_action(1, "s1", token=value % 3))),
        "state": lambda: journal.set_state(digest, tuple(PlanState)[value], actor=OPERATOR, reason=f"because {value}"),
        "begin": lambda: journal.begin_action(digest, 1),
        "action": lambda: journal.set_action(digest, 1, action, note=f"note {value}"),
        "step": lambda: journal.begin_step(digest, 1, step),
        "end": lambda: journal.end_step(digest, 1, step, StepResult(notes={"k": str(value)}, bytes=value), ms=1.0),
        "fail": lambda: journal.end_step(digest, 1, step, error="broken", ms=2.0),
        "undo": lambda: journal.undo_step(digest, 1, step),
        "commit": lambda: journal.commit_move(
            digest=digest, action=1, shard=Label("s1"), to=Label("h3"), expected_token=1
        ),
        "endpoint": lambda: journal.set_endpoint("s2", "h2", 7000 + value),
        "act": lambda: journal.act("level", actor="operator", reason=f"{value}", later=value % 2 == 0),
    }
    bench.now += 1.0
    before = picture(journal)
    try:
        does[name]()
    except SidestepError:
        assert picture(journal) == before, "a refused change left a trace"


@settings(max_examples=40, deadline=None)
@given(OPERATIONS, st.integers(0, 25))
def test_a_journal_replays_to_the_same_state(operations: list[Operation], crash: int) -> None:
    """Issue 6, show 2: closed in order or killed at any point, the next daemon finds what the last one knew."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "first").mkdir()
        bench = Bench(folder / "first")
        bench.approved()
        killed: tuple[object, ...] | None = None
        generation = 0
        for number, operation in enumerate(operations):
            if number == crash:  # what the disk has at that moment, and nothing of the process
                shutil.copytree(folder / "first", folder / "killed")
                killed = picture(bench.journal)
            apply(bench, operation)
            assert bench.journal.placement().generation >= generation
            generation = bench.journal.placement().generation
        known = picture(bench.journal)
        bench.reborn()
        assert picture(bench.journal) == known
        bench.journal.verify_chain()
        bench.journal.close()
        assert verify(folder / "first").whole
        if killed is not None:
            with suppress(FileNotFoundError):
                (folder / "killed" / "journal.db-shm").unlink()  # does not outlive a process that holds it
            other = Journal(folder / "killed" / "journal.db", clock=lambda: bench.now)
            assert picture(other) == killed
            other.close()
            assert verify(folder / "killed").whole
