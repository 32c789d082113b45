"""What the page of functions says: a sheet of all calls, and lines about the one under the cursor. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Line, Span, StyleName, fit, span
from sidestep.fleet.functionruns import BLOCK_STATES, BlockRow, FunctionRow, FunctionRun
from sidestep.fleet.resources import show_seconds, show_size

Cells = tuple[Span, ...]
#: states: the sign among the glyphs, and its colour
STATES: Final[dict[str, tuple[str, StyleName]]] = {
    "FAILED": ("failed", "error"),
    "MOVING": ("arrow", "accent"),
    "STARTING": ("pending", "muted"),
    "RUNNING": ("running", "ok"),
    "ENDED": ("done", "muted"),
}
#: verdicts of loops, in words: as shards, one after the other, not at all
_LOOPS: Final[dict[str, tuple[str, StyleName]]] = {
    "doall": ("shards", "ok"),
    "reduction": ("shards, folded", "ok"),
    "sequential": ("in order", "muted"),
    "refused": ("one host", "warn"),
}


class Call(Struct, frozen=True):
    """One call, its function, and the process that runs it."""

    run: FunctionRun
    function: FunctionRow
    block: BlockRow

    @property
    def key(self) -> str:
        """Unlike any other's."""
        return f"{self.function.name}/{self.run.pid}.{self.block.name}"


class CallRows(Struct, frozen=True):
    """Calls, looked at at a unix time."""

    calls: tuple[Call, ...]
    now: float

    @classmethod
    def of(cls, runs: Iterable[FunctionRun], now: float) -> CallRows:
        """Every call of every run: what failed or moves first, what ended last."""
        calls = [Call(run, function, block) for run in runs for function in run.functions for block in function.blocks]
        return cls(tuple(sorted(calls, key=lambda c: (BLOCK_STATES.index(c.block.state), -c.block.began))), now)

    @property
    def names(self) -> tuple[str, ...]:
        """The rows' identities."""
        return tuple(call.key for call in self.calls)


def exposure(block: BlockRow, now: float) -> float:
    """Seconds of work that the loss of its host would cost now (RPO): since the newest capsule, or since it began."""
    return 0.0 if block.ended else max(0.0, now - (block.captured or block.began))


def watermark(block: BlockRow) -> str:
    """How far it has come that cannot be lost any more."""
    if block.ended:
        return "ended"
    return f"{block.at}:{block.line} #{block.sequence}" if block.captured else "nothing kept"


def _name(rows: CallRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    call = rows.calls[row]
    sign, style = STATES[call.block.state]
    return (Span(f" {getattr(glyphs, sign)} ", style), Span(fit(span(call.key).text, width - 3, glyphs)))


def _state(rows: CallRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    state = rows.calls[row].block.state
    return (Span(fit(state.lower(), width - 1, glyphs) + " ", STATES[state][1]),)


def _text(
    said: Callable[[CallRows, Call], str], *, right: bool = True, style: StyleName = "text"
) -> Callable[..., Cells]:
    def cells(rows: CallRows, row: int, width: int, glyphs: Glyphs) -> Cells:
        text = span(said(rows, rows.calls[row])).text
        return (Span(fit(text, width - 1, glyphs, right=right) + " ", style),)

    return cells


def _key(value: Callable[[CallRows, Call], float]) -> Callable[[CallRows], Any]:
    def read(rows: CallRows) -> Any:
        import numpy as np  # noqa: PLC0415 - not before the first paint

        return np.array([value(rows, call) for call in rows.calls], dtype=float)

    return read


def _words(value: Callable[[Call], str]) -> Callable[[CallRows], Any]:
    return lambda rows: Words(tuple(value(call) for call in rows.calls))


def _hosts(call: Call) -> str:
    block = call.block
    there = f" to {block.target}" if block.target and block.target not in block.hosts else ""
    return f"{', '.join(block.hosts)}{there}"


def _rpo(rows: CallRows, call: Call) -> str:
    return "" if call.block.ended else show_seconds(exposure(call.block, rows.now))


def _age(rows: CallRows, call: Call) -> float:
    return max(0.0, (call.block.ended or rows.now) - call.block.began)


CALLS: Final[Sheet[CallRows]] = Sheet(
    columns=(
        Column(id="call", title="CALL", width=0, cells=_name, key=lambda r: Words(r.names), high=False),
        Column(
            id="state", title="STATE", width=10, cells=_state,
            key=_key(lambda _, c: -BLOCK_STATES.index(c.block.state)),
        ),
        Column(
            id="host", title="HOST", width=16, cells=_text(lambda _, c: _hosts(c), right=False),
            key=_words(_hosts), high=False,
        ),
        Column(
            id="rpo", title="RPO", width=8, cells=_text(_rpo),
            key=_key(lambda r, c: exposure(c.block, r.now)), right=True,
        ),
        Column(
            id="age", title="RUNS", width=8, cells=_text(lambda r, c: show_seconds(_age(r, c)), style="muted"),
            key=_key(_age), right=True,
        ),
        Column(
            id="cpu", title="CPU", width=8, cells=_text(lambda _, c: show_seconds(c.block.cpu_s)),
            key=_key(lambda _, c: c.block.cpu_s), right=True, least=72,
        ),
        Column(
            id="moves", title="MOVES", width=7, cells=_text(lambda _, c: str(c.block.moves)),
            key=_key(lambda _, c: c.block.moves), right=True, least=84,
        ),
        Column(
            id="kept", title="KEPT", width=24, cells=_text(lambda _, c: watermark(c.block), right=False, style="muted"),
            key=_key(lambda _, c: c.block.sequence), least=112,
        ),
    ),
    names=lambda rows: rows.names,
    first="state",
)  # fmt: skip


def call_lines(call: Call, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """One call: where it is, what its loss would cost, what happened to it, and the loops of its function."""
    block = call.block
    sign, style = STATES[block.state]
    head = (
        Span(f" {getattr(glyphs, sign)} {block.state.lower()} ", style),
        span(f"{_hosts(call) or 'nowhere'}"), Span(f"  token {block.token}, process {call.run.pid}", "muted"),
    )  # fmt: skip
    lines: list[Line] = [head, *_kept(block, now), *_happened(block)]
    if call.run.waiting:
        lines.append((Span(f" {call.run.waiting} more calls wait for a place", "warn"),))
    return [*lines, (), *_loops(call.function, width, glyphs)]


def _kept(block: BlockRow, now: float) -> list[Line]:
    if block.ended:
        took = show_seconds(block.ended - block.began)
        shards = f", {block.sharded} loops ran as shards" if block.sharded else ""
        return [(Span(f" took {took}, processor {show_seconds(block.cpu_s)}{shards}", "muted"),)]
    lines: list[Line] = []
    if block.unsuited:
        lines.append((Span(" cannot be stopped: ", "warn"), span(block.unsuited)))
    if not block.captured:
        why = "no capsule yet" if block.every else "keeps no capsules (--every)"
        return [
            *lines,
            (Span(f" {why}: the loss of its host costs ", "muted"), Span(show_seconds(exposure(block, now)), "warn")),
        ]
    late = block.every and exposure(block, now) > 2 * block.every
    kept = f"{show_size(block.nbytes)} of state on {', '.join(block.holders)}"
    where = f" kept #{block.sequence} at {block.at}:{block.line}, {kept}"
    return [
        *lines,
        (span(where),),
        (
            Span(" the loss of its host costs ", "muted"),
            Span(show_seconds(exposure(block, now)), "warn" if late else "ok"),
        ),
    ]


def _happened(block: BlockRow) -> list[Line]:
    return [(Span("   ", "muted"), span(said)) for said in block.events]


def _loops(function: FunctionRow, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = [(Span(f" {function.file}", "muted"), Span(" loops of "), span(function.name))]
    if function.problem:
        return [*lines, (Span(" not analysed: ", "warn"), span(function.problem))]
    if not function.loops:
        return [*lines, (Span(" none; it runs as one block", "muted"),)]
    for loop in function.loops:
        word, style = _LOOPS.get(loop.verdict, (loop.verdict, "text"))
        text = f"{'  ' * loop.depth}{span(loop.text).text}"
        room = max(10, width - 26)
        lines.append((
            Span(f" {loop.line:>5} ", "muted"), Span(fit(text, room, glyphs)), Span(f" {fit(word, 16, glyphs)}", style),
        ))  # fmt: skip
        if loop.why:
            lines.append((Span("       "), span(f"{'  ' * loop.depth}{loop.why}", "muted")))
    return lines
