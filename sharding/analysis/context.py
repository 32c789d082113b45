"""What is known about one function while it is analysed: names, types, and which names may share memory."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sidestep.sharding.analysis.source import AnyFunction, Source
from sidestep.sharding.analysis.trees import bound_imports, walk
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.universe.observed import annotated
from sidestep.sharding.universe.types import ANY, STR, Type, dict_of, tuples_of

#: how a global variable is named among regions: it is not a local of the same name
GLOBAL = "::"


class Local(NamedTuple):
    """A name of a comprehension or lambda: its type, and the names whose memory it may share."""

    type: Type
    shares: frozenset[str]


Bound = Mapping[str, Local]
NOTHING: Bound = {}


@dataclass(frozen=True, slots=True)
class Summary:
    """A function seen by its callers, for given argument types.

    ``fresh``: what it returns shares no memory with what it was given. ``mutates``: parameters it writes into.
    """

    returns: Type
    fresh: bool
    mutates: frozenset[str] = frozenset()
    refusals: tuple[Refusal, ...] = ()
    #: parameters that may hold memory of each other after the call
    links: frozenset[tuple[str, str]] = frozenset()


Summarise = Callable[["Context", ast.Call, Bound], Summary | None]
Linked = Callable[["Context", ast.Call], list[tuple[ast.expr, ast.expr]]]


@dataclass(slots=True)
class Context:
    """One function with an environment of argument types; filled by ``function.analysed``."""

    source: Source
    node: AnyFunction
    types: dict[str, Type]
    parameters: list[str]
    local: set[str]
    imports: dict[str, str]
    nested: dict[str, ast.FunctionDef]
    #: functions that are being summarised around this one
    stack: tuple[str, ...]
    summarise: Summarise
    linked: Linked
    #: types of module variables, where values are known
    globals: Mapping[str, Type] = field(default_factory=dict)
    changed: bool = False
    _parent: dict[str, str] = field(default_factory=dict)

    # regions: names that may share mutable memory

    def region(self, name: str) -> str:
        """The representative of the names that may share memory with this one."""
        while self._parent.get(name, name) != name:
            name = self._parent[name]
        return name

    def unite(self, one: str, other: str) -> None:
        """Let two names share memory."""
        a, b = self.region(one), self.region(other)
        if a != b:
            self._parent[a] = b
            self.changed = True

    def regions(self, names: Iterable[str]) -> set[str]:
        """Their representatives."""
        return {self.region(name) for name in names}

    # names

    def dotted(self, node: ast.expr) -> str | None:
        """The full name of what an imported name (and attributes of it) stands for."""
        if isinstance(node, ast.Name):
            if node.id in self.local:
                return None
            return self.imports.get(node.id) or self.source.imports.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    def builtin(self, name: str) -> bool:
        """Whether the name means Python's own."""
        source = self.source
        bound = (self.local, source.functions, source.imports, self.imports, source.constants, source.classes)
        return not any(name in names for names in bound) and name not in source.unsure and hasattr(builtins, name)

    def known_function(self, name: str) -> bool:
        """Whether the name means a function of the module, and surely that one."""
        return name in self.source.functions and name not in self.local and name not in self.source.unsure

    def root(self, node: ast.expr) -> str | None:
        """The name at the bottom of subscripts, attributes and method calls."""
        while isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
            if isinstance(node, ast.Attribute) and self.dotted(node):
                return None
            node = node.value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not self.dotted(node.func):
            return self.root(node.func.value)
        return node.id if isinstance(node, ast.Name) else None


def begin(
    source: Source,
    node: AnyFunction,
    summarise: Summarise,
    linked: Linked,
    types: Mapping[str, Type] | None = None,
    stack: tuple[str, ...] = (),
    module: Mapping[str, Type] | None = None,
) -> Context:
    """A context with names, and types of parameters: given, or as annotated."""
    given, a = types or {}, node.args
    plain = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    env = {p.arg: given[p.arg] if p.arg in given else annotated(p.annotation) for p in plain}
    extra = {name: t for name, t in given.items() if name not in env}
    if a.vararg:
        env[a.vararg.arg] = given.get(a.vararg.arg, tuples_of(ANY))
    if a.kwarg:
        env[a.kwarg.arg] = given.get(a.kwarg.arg, dict_of(STR, ANY))
    env |= extra
    local, nested, imported = set(env), dict[str, ast.FunctionDef](), set[str]()
    for n in walk(node.body):
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store | ast.Del):
            local.add(n.id)
        elif isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            local.add(n.name)
            if isinstance(n, ast.FunctionDef):
                nested[n.name] = n
        elif (isinstance(n, ast.ExceptHandler) and n.name) or (isinstance(n, ast.MatchAs | ast.MatchStar) and n.name):
            local.add(n.name)
    imports = bound_imports(walk(node.body))
    imported = set(imports) & local
    for name in imported:
        del imports[name]
    return Context(
        source=source, node=node, types=env, parameters=list(env), local=local, imports=imports, nested=nested,
        stack=(*stack, node.name), summarise=summarise, linked=linked, globals=module or {},
    )  # fmt: skip
