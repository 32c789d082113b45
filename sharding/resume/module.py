"""What a module's source says about its functions: which can be resumed, and what state lies outside their frames."""

from __future__ import annotations

import ast
import hashlib
import symtable
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidestep.sharding.resume.liveness import own
from sidestep.sharding.resume.transform import PREFIX

_DYNAMIC: Final = frozenset("exec eval compile locals globals vars super dir __import__ breakpoint".split())  # noqa: SIM905
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a function cannot be resumed: a stable code, and the place in the source."""

    code: str
    line: int
    text: str


class Source:
    """One module's source. Raises SyntaxError."""

    def __init__(self, text: str, filename: str = "<module>") -> None:
        self.tree = ast.parse(text, filename)
        self.lines = text.splitlines()
        self.digest = hashlib.blake2b(ast.dump(self.tree).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.definitions: dict[str, _Definition] = {
            one.name: one for one in self.tree.body if isinstance(one, _Definition)
        }
        bound = Counter(name for one in own(self.tree.body) for name in _bound(one))
        self.refused = {name: why for name in self.definitions if (why := self._refusal(name, bound[name]))}
        for owner in self.definitions.values():
            if isinstance(owner, ast.ClassDef):
                for one in owner.body:
                    if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                        name = f"{owner.name}.{one.name}"
                        self.refused[name] = self._why("method", one, "a method's object is not of the universe")
        self.resumable = self._with_loops()
        self._locals = {
            one.get_name(): frozenset(one.get_locals())
            for one in symtable.symtable(text, filename, "exec").get_children()
            if isinstance(one, symtable.Function)
        }

    def function(self, name: str) -> ast.FunctionDef:
        """The definition of a function that can be resumed."""
        one = self.definitions[name]
        assert isinstance(one, ast.FunctionDef)
        return one

    def local_names(self, name: str) -> frozenset[str]:
        """All names that are local to a function."""
        return self._locals[name]

    def _why(self, code: str, node: ast.AST, text: str = "") -> Refusal:
        line = getattr(node, "lineno", 0)
        shown = self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""
        return Refusal(code, line, text or shown)

    def _refusal(self, name: str, times: int) -> Refusal | None:  # noqa: PLR0911
        one = self.definitions[name]
        if isinstance(one, ast.ClassDef):
            return self._why("class", one)
        if isinstance(one, ast.AsyncFunctionDef):
            return self._why("async", one)
        if one.decorator_list:
            return self._why("decorated", one.decorator_list[0])
        if times != 1:
            return self._why("rebound", one, f"{name} is bound {times} times in the module")
        for node in own(one.body):
            match node:
                case ast.Yield() | ast.YieldFrom():
                    return self._why("generator", node)
                case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                    return self._why("async", node)
                case ast.Global():
                    return self._why("global", node)
                case ast.Nonlocal():
                    return self._why("nonlocal", node)
                case ast.Name(id=used) if used in _DYNAMIC or used == "__class__":
                    return self._why("dynamic", node)
                case ast.Name(id=used) if used.startswith(PREFIX):
                    return self._why("name", node, f"names that begin with {PREFIX} are ours")
        return None

    def _with_loops(self) -> frozenset[str]:
        """Functions that have a loop, or call one that has."""
        usable = {name for name in self.definitions if name not in self.refused}
        bodies = {name: list(own(self.function(name).body)) for name in usable}
        found = {name for name in usable if any(isinstance(one, ast.For | ast.While) for one in bodies[name])}
        while True:
            more = {
                name
                for name in usable - found
                if any(
                    isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in found
                    for one in bodies[name]
                )
            }
            if not more:
                return frozenset(found)
            found |= more

    def reached(self, names: frozenset[str]) -> list[_Definition]:
        """Definitions of the module that may be run by these functions, by any name that they mention."""
        seen: set[str] = set()
        stack = list(names)
        while stack:
            if (name := stack.pop()) in self.definitions and name not in seen:
                seen.add(name)
                stack += _mentioned(self.definitions[name])
        return [one for name, one in self.definitions.items() if name in seen]

    def state_names(self, reached: list[_Definition]) -> tuple[frozenset[str], frozenset[str]]:
        """Names that these definitions mention, and those that they rebind in the module."""
        named = {name for one in reached for name in _mentioned(one)}
        rebound = {
            name for top in reached for one in ast.walk(top) if isinstance(one, ast.Global) for name in one.names
        }
        return frozenset(named), frozenset(rebound)

    def stores_attributes(self, reached: list[_Definition]) -> Refusal | None:
        """Where they keep state in attributes of functions, classes or modules."""
        top = set(self.definitions) | {name for one in own(self.tree.body) for name in _imported(one)}
        for definition in reached:
            for one in ast.walk(definition):
                if (
                    isinstance(one, ast.Attribute)
                    and not isinstance(one.ctx, ast.Load)
                    and isinstance(one.value, ast.Name)
                    and one.value.id in top
                ):
                    return self._why("attribute-store", one)
        return None

    def foreign(self) -> frozenset[str]:
        """Modules that it imports and that are neither numpy nor of the standard library."""
        roots = {
            (one.module if isinstance(one, ast.ImportFrom) else alias.name) or "."
            for one in ast.walk(self.tree)
            if isinstance(one, ast.Import | ast.ImportFrom)
            for alias in one.names
        }
        known = sys.stdlib_module_names | {"numpy"}
        return frozenset(root for one in roots if (root := one.partition(".")[0]) not in known)

    def random(self) -> bool:
        """Whether anything in it is called random."""
        return any("random" in name for one in ast.walk(self.tree) for name in _words(one))


def _words(one: ast.AST) -> Iterator[str]:
    match one:
        case ast.Name():
            yield one.id
        case ast.Attribute():
            yield one.attr
        case ast.alias():
            yield one.name
        case ast.ImportFrom():
            yield one.module or ""


def _mentioned(one: ast.AST) -> set[str]:
    return {x.id for x in ast.walk(one) if isinstance(x, ast.Name)}


def _imported(one: ast.AST) -> list[str]:
    if isinstance(one, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in one.names]
    return []


def _bound(one: ast.AST) -> list[str]:
    if isinstance(one, _Definition):
        return [one.name]
    if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
        return [one.id]
    return _imported(one)
