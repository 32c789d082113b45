"""A function's module in a seat: run once, from the files that its digest names, as a module of its own name."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sidestep.backends.functions.sources import PLAIN
from sidestep.sharding.resume import Program, Unsuited


class Loaded:
    """A module and one of its functions; ``program`` is its resumable form, or None, and then ``unsuited`` says why."""

    def __init__(self, folder: Path, module: str, function: str) -> None:
        sys.path.insert(0, str(folder))
        self._name = function
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module {module!r} among the source files")
        text = undecorated(Path(spec.origin).read_text("utf-8"))
        made: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        exec(compile(text, spec.origin, "exec", dont_inherit=True), made.__dict__)  # noqa: S102 - the user's, in a seat
        self.function = _found(made, function)
        self.program: Program | None = None
        self.unsuited = ""
        self._resumable(text, module, made)

    def _resumable(self, text: str, module: str, made: ModuleType) -> None:
        try:
            program = Program(text, name=module, namespace=made.__dict__, trusted=frozenset({"sidestep"}))
        except (Unsuited, SyntaxError, ValueError) as error:
            self.unsuited = str(error)
            return
        if self._name in program.source.resumable:
            self.program = program
        else:
            why = program.source.refused.get(self._name)
            self.unsuited = f"line {why.line}: {why.code}" if why is not None else "it has no loop"


def _found(module: ModuleType, function: str) -> Callable[..., Any]:
    found: Any = getattr(module, function)
    plain: Callable[..., Any] = getattr(found, PLAIN, found)
    return plain


def undecorated(text: str) -> str:
    """The source without ``@sidestep.function``, in whatever way it was imported; every line stays where it was."""
    tree = ast.parse(text)
    names = {"sidestep.function"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {f"{a.asname}.function" for a in node.names if a.name == "sidestep" and a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == "sidestep" and not node.level:
            names |= {a.asname or a.name for a in node.names if a.name == "function"}
    lines = text.splitlines(keepends=True)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for one in node.decorator_list:
                if ast.unparse(one) in names and one.lineno == one.end_lineno:
                    lines[one.lineno - 1] = "\n"
    return "".join(lines)
