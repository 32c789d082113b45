"""The ShardGraph: a function as blocks with contracts, and what passes between them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sidestep.sharding.analysis.collect import Collector
from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.places import Dim, Places
from sidestep.sharding.analysis.trees import line_of, stored_names
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.universe.types import ANY, scalar

if TYPE_CHECKING:
    from sidestep.sharding.loops.verdict import Verdict

VERSION = 1
Kind = Literal["straight", "doall", "reduction", "sequential", "refused"]


@dataclass(frozen=True, slots=True)
class Contract:
    """One name that crosses a block's border: its type, bytes when a value is known, and which part of it."""

    name: str
    type: str
    bytes: int | None = None
    section: str = "all"


@dataclass(frozen=True, slots=True)
class Block:
    """A block: statements from ``entry`` to ``exit`` (lines), what it needs and makes, and how it may run."""

    id: str
    kind: Kind
    entry: int
    exit: int
    reads: tuple[Contract, ...] = ()
    writes: tuple[Contract, ...] = ()
    reductions: tuple[tuple[str, str], ...] = ()
    guards: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    #: the block around this one, for loops inside loops
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """``target`` needs what ``source`` wrote (flow), or must come after it because it overwrites (order)."""

    source: str
    target: str
    name: str
    kind: Literal["flow", "order"] = "flow"
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ShardGraph:
    """Blocks in the order of the text, and edges between those of the outermost level."""

    function: str
    line: int
    blocks: tuple[Block, ...] = ()
    edges: tuple[Edge, ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """The graph as JSON values (sharding/graph.schema.json)."""
        return {
            "version": VERSION, "function": self.function, "line": self.line,
            "blocks": [_block(b) for b in self.blocks],
            "edges": [
                {"from": e.source, "to": e.target, "name": e.name, "kind": e.kind, "bytes": e.bytes}
                for e in self.edges
            ],
        }  # fmt: skip


def _block(b: Block) -> dict[str, Any]:
    return {
        "id": b.id, "kind": b.kind, "entry": b.entry, "exit": b.exit, "parent": b.parent,
        "reads": [_contract(c) for c in b.reads], "writes": [_contract(c) for c in b.writes],
        "reductions": [{"name": name, "operation": op} for name, op in b.reductions], "guards": list(b.guards),
        "refusals": [{"code": r.code, "line": r.line, "text": r.text} for r in b.refusals],
    }  # fmt: skip


def _contract(c: Contract) -> dict[str, Any]:
    return {"name": c.name, "type": c.type, "bytes": c.bytes, "section": c.section}


def graph_of(context: Context, verdicts: Sequence[Verdict], sizes: Mapping[str, int] | None = None) -> ShardGraph:
    """The graph of an analysed function; ``sizes`` are bytes of names whose values are known."""
    known = {id(v.node): v for v in verdicts}
    maker = _Maker(context, known, sizes or {})
    top = maker.level(context.node.body, "")
    return ShardGraph(context.node.name, context.node.lineno, tuple(maker.blocks), tuple(_edges(context, top)))


class _Maker:
    """Collects blocks, outermost first."""

    def __init__(self, context: Context, known: Mapping[int, Verdict], sizes: Mapping[str, int]) -> None:
        self.context, self.known, self.sizes = context, known, sizes
        self.blocks = list[Block]()

    def level(self, body: Sequence[ast.stmt], parent: str) -> list[Block]:
        """The blocks of one level: loops, and the statements between them."""
        made, straight = list[Block](), list[ast.stmt]()

        def close() -> None:
            if straight:
                made.append(self._add("straight", straight, parent, None))
                straight.clear()

        for s in body:
            if id(s) in self.known and isinstance(s, ast.For | ast.While | ast.AsyncFor):
                close()
                verdict = self.known[id(s)]
                block = self._add(verdict.kind, [s], parent, verdict)
                made.append(block)
                self._inner(s.body, block.id)
            elif not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)):
                straight.append(s)
                self._inner([s], parent)
        close()
        return made

    def _inner(self, body: Sequence[ast.AST], parent: str) -> None:
        """Loops further inside."""
        for s in body:
            for _, part in ast.iter_fields(s) if not isinstance(s, ast.For | ast.While) else [("", [s])]:
                for one in part if isinstance(part, list) else []:
                    verdict = self.known.get(id(one))
                    if verdict is not None and isinstance(one, ast.For | ast.While | ast.AsyncFor):
                        block = self._add(verdict.kind, [one], parent, verdict)
                        self._inner(one.body, block.id)
                    elif isinstance(one, ast.stmt):
                        self._inner([one], parent)

    def _add(self, kind: Kind, body: Sequence[ast.stmt], parent: str, verdict: Verdict | None) -> Block:
        context = self.context
        collector = Collector(context, Places(context, varying=set(context.local)))
        collector.statements(body)
        read = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and n.id in context.local}
        wrote = {a.root for a in collector.accesses if a.mode == "write"} | stored_names(body)
        last = max(int(getattr(n, "end_lineno", 0) or 0) for s in body for n in ast.walk(s))
        sections = {name: _section(dims) for name, dims in verdict.sections.items()} if verdict else {}
        block = Block(
            id=f"{context.node.name}:{line_of(body[0])}", kind=kind, entry=line_of(body[0]), exit=last, parent=parent,
            reads=self._contracts(read, {}), writes=self._contracts(wrote & context.local, sections),
            reductions=tuple((n, f"{r.kind} {r.op}") for n, r in verdict.reductions.items()) if verdict else (),
            guards=tuple(f"{g.kind} {g.text}".strip() for g in verdict.guards) if verdict else (),
            refusals=tuple(verdict.refusals) if verdict else tuple(dict.fromkeys(collector.refusals)),
        )  # fmt: skip
        self.blocks.append(block)
        return block

    def _contracts(self, names: set[str], sections: Mapping[str, str]) -> tuple[Contract, ...]:
        types = self.context.types
        return tuple(
            Contract(n, str(types.get(n, ANY)), self.sizes.get(n), sections.get(n, "all")) for n in sorted(names)
        )


def _section(writes: Sequence[tuple[Dim, ...]]) -> str:
    """Written parts as text: ``[i] [i + 1, *]``."""
    said = []
    for dims in writes:
        parts = []
        for d in dims:
            low = d.low.text() if d.low is not None else ""
            high = d.high.text() if d.high is not None else ""
            parts.append(low if d.kind == "index" else f"{low}:{high}" if d.kind == "slice" else "*")
        said.append(f"[{', '.join(parts)}]")
    return " ".join(dict.fromkeys(said)) or "all"


def _edges(context: Context, blocks: Sequence[Block]) -> list[Edge]:
    """Who needs what from whom: the last writer of each name, and of each region that a name belongs to."""
    found = list[Edge]()
    for n, target in enumerate(blocks):
        for contract in target.reads:
            source = _last_writer(context, blocks[:n], contract.name)
            if source is not None:
                found.append(Edge(source.id, target.id, contract.name, "flow", contract.bytes))
        for contract in target.writes:
            for source in blocks[:n]:
                read = any(c.name == contract.name for c in source.reads)
                if read and not any(e.source == source.id and e.target == target.id for e in found):
                    found.append(Edge(source.id, target.id, contract.name, "order"))
    return found


def _last_writer(context: Context, before: Sequence[Block], name: str) -> Block | None:
    alone = scalar(context.types.get(name, ANY))
    for block in reversed(before):
        for c in block.writes:
            if c.name == name or (not alone and context.region(c.name) == context.region(name)):
                return block
    return None
