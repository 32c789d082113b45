"""Programs run as shards and as they are: bit for bit the same, or a mismatch is reported by its seed."""

from __future__ import annotations

import io
import multiprocessing
import resource
import signal
import sys
import time
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from benchmarks import sharder_idioms, sharder_programs
from benchmarks.sharder_programs import ALIASINGS
from sidestep.sharding import codec
from sidestep.sharding.execute.local import InProcess
from sidestep.sharding.execute.planned import Sharded, prepare

#: programs that a worker process takes at a time, and inputs of each, in the long run
_SEEDS, _INPUTS = 50, 12
#: address space of such a process
_MEMORY = 3 << 30


class TooLong(BaseException):
    """A program takes longer than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Stop what runs inside after so many CPU seconds (main thread only). Raises TooLong."""

    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@dataclass(slots=True)
class Counts:
    """What was run."""

    programs: int = 0
    loops: int = 0
    accepted: int = 0
    #: calls of a function with one of its loops as shards, and loops that really ran so
    calls: int = 0
    sharded: int = 0
    fallbacks: dict[str, int] = field(default_factory=dict)
    timeouts: int = 0
    mismatches: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Put another account into this one."""
        for name in ("programs", "loops", "accepted", "calls", "sharded", "timeouts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for why, times in other.fallbacks.items():
            self.fallbacks[why] = self.fallbacks.get(why, 0) + times
        self.mismatches += other.mismatches


def result_of(function: Any, args: Sequence[Any]) -> object:
    """What a call leaves: its result and its arguments, or its exception and its arguments, bit for bit."""
    try:
        with redirect_stdout(io.StringIO()):
            value = function(*args)
    except MemoryError as error:  # lists that grow for as long as they are gone over
        raise TooLong from error
    except Exception as error:  # noqa: BLE001 - whatever the program raises is what it leaves
        return type(error).__name__, str(error), codec.canonical(list(args))
    return codec.canonical([value, list(args)])


def defined(text: str, name: str = "f") -> types.FunctionType:
    """The function of a program's text."""
    scope: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, "<program>", "exec"), scope)
    found = scope[name]
    assert isinstance(found, types.FunctionType)
    return found


#: who writes a seed's program
FORMS = (sharder_programs, sharder_idioms)
#: how far the seeds of one program's further arguments lie apart
_APART = 1_000_003


def check(seed: int, aliasing: int, parts: int, counts: Counts, seconds: float = 10.0, inputs: int = 1) -> None:
    """Run a seed's program with each accepted loop as shards, on so many inputs; mismatches are added to counts."""
    form = FORMS[seed // 7 % 2]
    text, arguments = form.program(seed), form.arguments
    function = defined(text)
    try:
        with within(seconds):
            prepared = prepare(function, arguments(seed, aliasing), {}, text=text)
            counts.programs += 1
            counts.loops += len(prepared.verdicts)
            accepted = [verdict for verdict in prepared.verdicts if verdict.accepted]
            counts.accepted += len(accepted)
            # Built and compiled once, as in the product; then called on every input.
            forms = [(verdict, Sharded.of(prepared, [verdict])) for verdict in accepted]
            for n in range(inputs if accepted else 0):
                values, pieces = seed + n * _APART, 2 + (parts - 2 + n) % 4
                expected = result_of(function, arguments(values, aliasing))
                for verdict, sharded in forms:
                    same = one_loop(sharded, pieces, arguments(values, aliasing), expected, counts)
                    if not same:
                        counts.mismatches.append(
                            f"seed {seed} input {n} aliasing {aliasing} parts {pieces} line {verdict.line}"
                        )
    except (TooLong, MemoryError):
        counts.timeouts += 1


def one_loop(sharded: Sharded, parts: int, args: Sequence[Any], expected: object, counts: Counts) -> bool:
    """Whether a call with a form's loop in so many parts leaves what is expected."""
    totals = list[Any]()

    def call(*given: Any) -> Any:
        made, total = sharded.bound(InProcess(parts))
        totals.append(total)
        return made(*given)

    got = result_of(call, args)
    counts.calls += 1
    counts.sharded += sum(t.sharded for t in totals)
    for t in totals:
        for why in t.fallbacks:
            kind = why.partition(":")[0]
            counts.fallbacks[kind] = counts.fallbacks.get(kind, 0) + 1
    return got == expected


def run(programs: int, first: int, counts: Counts, inputs: int = 1) -> Counts:
    """So many programs from a seed on, each with one aliasing and number of parts."""
    for n in range(programs):
        seed = first + n
        check(seed, seed % ALIASINGS, 2 + seed % 4, counts, inputs=inputs)
    return counts


def _bounded() -> None:
    """Let a program that never ends fail before the machine does."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def many(executions: int, first: int, minutes: float, workers: int) -> Counts:
    """Programs until their loops ran as shards so often, or the time is over; in worker processes, seed by seed."""
    total, until, seed = Counts(), time.monotonic() + 60 * minutes, first
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_bounded) as pool:
        under_way = set[Future[Counts]]()
        while (total.sharded < executions and time.monotonic() < until) or under_way:
            while len(under_way) < 2 * workers and total.sharded < executions and time.monotonic() < until:
                under_way.add(pool.submit(run, _SEEDS, seed, Counts(), _INPUTS))
                seed += _SEEDS
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for one in done:
                total.add(one.result())
            print(
                f"{total.sharded} sharded executions, {len(total.mismatches)} mismatches", file=sys.stderr, flush=True
            )
    return total
