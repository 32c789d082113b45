"""The text that workers compile: a shard, the functions it calls, and the imports these need. Nothing else runs."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.trees import bound_imports, walk
from sidestep.sharding.execute.rewriting import LoopPlan, shard_function

#: the shard's function, and its description, in the emitted module
FUNCTION = "_sd_shard"
META = "_sd_meta"


@dataclass(frozen=True, slots=True)
class Emitted:
    """Source for workers. ``functions`` and ``imports`` are what it took from the module: checked before it is used."""

    text: str
    digest: str
    functions: tuple[str, ...]
    imports: tuple[tuple[str, str], ...]
    builtins: tuple[str, ...]


def emit(plan: LoopPlan, context: Context) -> Emitted:
    """The source of one loop's shards; fills ``plan.globals`` with the module variables that they read."""
    shard = shard_function(plan, context, FUNCTION)
    shard = ast.fix_missing_locations(shard)
    source = context.source
    functions, variables, used = dict[str, ast.stmt](), set[str](), set[str]()
    todo: list[tuple[ast.AST, set[str]]] = [(shard, set(context.local) | _names(shard.args))]
    while todo:
        node, local = todo.pop()
        for name in _free(node, local):
            if name.startswith("_sd_"):
                continue
            used.add(name)
            called = source.functions.get(name)
            if called is not None and name not in functions:
                functions[name] = called
                todo.append((called, _bound(called)))
            elif called is None and name in source.constants:
                variables.add(name)
    plan.globals = sorted(variables)
    used |= {n.id for n in ast.walk(plan.verdict.node) if isinstance(n, ast.Name) and n.id not in context.local}
    imports = _imports(context, functions, used)
    body: list[ast.stmt] = [
        *imports.values(), *functions.values(), shard,
        *ast.parse(f"{META} = {json.dumps(_meta(plan))!r}").body,
    ]  # fmt: skip
    text = ast.unparse(ast.Module(body, []))
    return Emitted(
        text=text, digest=hashlib.sha256(text.encode()).hexdigest(), functions=tuple(functions),
        imports=tuple(sorted(_meanings(context, imports).items())),
        builtins=tuple(sorted(name for name in used if context.builtin(name))),
    )  # fmt: skip


def _meta(plan: LoopPlan) -> dict[str, object]:
    return {"live": plan.live, "globals": plan.globals, "written": plan.written, "items": plan.items_written}


def _names(arguments: ast.arguments) -> set[str]:
    return {a.arg for a in ast.walk(arguments) if isinstance(a, ast.arg)}


def _bound(function: ast.AST) -> set[str]:
    found = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
    return found | {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _free(node: ast.AST, local: set[str]) -> Iterable[str]:
    return sorted({n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id not in local})


def _imports(context: Context, functions: dict[str, ast.stmt], used: set[str]) -> dict[str, ast.stmt]:
    """One import statement per used name; also of imports inside the function itself."""
    found = dict[str, ast.stmt]()
    inner = {name: full for name, full in context.imports.items() if name in used}
    outer = {name: full for name, full in context.source.imports.items() if name in used and name not in inner}
    for f in functions.values():
        outer |= {n: full for n, full in bound_imports(walk([*getattr(f, "body", [])])).items() if n in used}
    for name, full in {**outer, **inner}.items():
        found[name] = _import(name, full, context)
    return found


def _import(name: str, full: str, context: Context) -> ast.stmt:
    if name in context.source.from_imports:
        module, _, leaf = full.rpartition(".")
        return ast.ImportFrom(module, [ast.alias(leaf, name if name != leaf else None)], 0)
    return ast.Import([ast.alias(full, name if name != full else None)])


def _meanings(context: Context, imports: dict[str, ast.stmt]) -> dict[str, str]:
    return {name: context.imports.get(name) or context.source.imports.get(name, "") for name in imports}
