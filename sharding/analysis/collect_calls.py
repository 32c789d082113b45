"""What calls do: the allow-list, the module's own functions by their summaries; the rest is refused."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from sidestep.sharding.analysis.trees import text_of
from sidestep.sharding.universe import effects

if TYPE_CHECKING:
    from sidestep.sharding.analysis.collect_expressions import Expressions


def call(c: Expressions, node: ast.Call) -> None:
    """Note what a call reads, writes, and why it may be refused."""
    f = node.func
    if isinstance(f, ast.Name) and f.id not in c.places.bound:
        if c.context.builtin(f.id):
            _builtin(c, node, f.id)
        elif dotted := c.context.dotted(f):
            _dotted(c, node, dotted)
        else:
            _own(c, node, f.id)
        return
    dotted = c.context.dotted(f)
    if dotted:
        _dotted(c, node, dotted)
    elif isinstance(f, ast.Attribute):
        _method(c, node, f)
    else:
        c.refuse("call-through-variable", node, text_of(f))
        c.expressions((f, *_given(node)))


def _given(node: ast.Call) -> list[ast.expr]:
    return [*(a.value if isinstance(a, ast.Starred) else a for a in node.args), *(k.value for k in node.keywords)]


def _builtin(c: Expressions, node: ast.Call, name: str) -> None:
    if name in effects.IO:
        c.refuse("io", node, name)
    elif name in effects.STATEFUL:
        c.refuse("stateful-builtin", node, name)
    elif name in effects.DYNAMIC:
        c.refuse("dynamic", node, name)
    elif name not in effects.BUILTINS and name not in effects.EXCEPTIONS:
        c.refuse("unknown-call", node, name)
    given = _given(node)
    if name == "len" and len(given) == 1 and c.places.place(given[0]) is not None:
        c.within(given[0])
        c.access(given[0], "length")
        return
    for a in given:
        _argument(c, node, a)
    if name in effects.ORDERED:
        for a in given:
            if not _function_name(c, a):
                c.ordered(a, deep=name in {"str", "repr", "format", "ascii"})


def _function_name(c: Expressions, a: ast.expr) -> bool:
    return isinstance(a, ast.Name) and a.id not in c.context.local and a.id not in c.context.source.constants


def _argument(c: Expressions, node: ast.Call, a: ast.expr) -> None:
    """An argument, which may be a function that the callee will call."""
    if isinstance(a, ast.Name) and a.id not in c.places.bound:
        if c.context.known_function(a.id):
            _as_value(c, node, a)
            return
        if c.context.builtin(a.id):
            if a.id not in effects.VALUES and a.id not in effects.EXCEPTIONS:
                c.refuse("builtin-value", a, a.id)
            return
    if isinstance(a, ast.Attribute):
        dotted = c.context.dotted(a)
        if dotted in effects.DOTTED or dotted in effects.DTYPES:
            return
    c.expression(a)


def _as_value(c: Expressions, node: ast.Call, a: ast.Name) -> None:
    """A function of the module given to ``map``, ``sorted(key=)`` and the like: it must do nothing but return."""
    summary = c.context.summarise(c.context, ast.Call(func=a, args=[], keywords=[], lineno=node.lineno), {})
    if summary is None or summary.refusals or summary.mutates:
        c.refuse("impure-function-value", a, a.id)
    c.orders_sets = True


def _own(c: Expressions, node: ast.Call, name: str) -> None:
    """A function of the module, by its summary for these argument types."""
    context = c.context
    summary = context.summarise(context, node, c.places.bound)
    if summary is None:
        code = (
            "nested-function" if name in context.nested
            else "class-instance" if name in context.source.classes
            else "call-through-variable" if name in context.local or name in c.places.bound
            else "unresolved-call"
        )  # fmt: skip
        c.refuse(code, node, name)
        c.expressions(_given(node))
        return
    for why in summary.refusals:
        if why.code == "orders-sets":
            c.orders_sets = True
        else:
            c.refuse("callee:" + why.code.removeprefix("callee:"), node, f"{name} line {why.line} {why.text}")
    a = context.source.functions[name].args
    names = [p.arg for p in (*a.posonlyargs, *a.args)]
    passed = set[str]()
    for parameter, given in (*zip(names, node.args, strict=False), *((k.arg, k.value) for k in node.keywords)):
        value = given.value if isinstance(given, ast.Starred) else given
        _argument(c, node, value)
        passed.add(parameter or "")
        if parameter in summary.mutates:
            if c.places.place(value) is not None:
                c.access(value, "write", "callee")
            else:
                c.write_roots(value, node)
    for extra in node.args[len(names) :]:
        _argument(c, node, extra.value if isinstance(extra, ast.Starred) else extra)
    if summary.mutates - passed:
        c.refuse("mutable-default", node, f"{name}({', '.join(sorted(summary.mutates - passed))})")


def _dotted(c: Expressions, node: ast.Call, name: str) -> None:
    known = effects.DOTTED.get(name)
    for a in _given(node):
        _argument(c, node, a)
    if name in effects.WRITES_FIRST or known in {"mutates", "pops"}:
        if node.args:
            _written(c, node.args[0], node)
        return
    for keyword in node.keywords:
        if keyword.arg == "out":
            _written(c, keyword.value, node)
    if name in effects.WRITES_THIRD and len(node.args) > 2:
        _written(c, node.args[2], node)
    allowed = (effects.VIEWS, effects.CONTAINERS, effects.ITERTOOLS, effects.DTYPES)
    if known is None and not any(name in names for names in allowed):
        refuse_dotted(c, name, node)
    if not name.startswith(("math.", "cmath.")):
        for a in node.args:
            if not _function_name(c, a):
                c.ordered(a)


def _written(c: Expressions, value: ast.expr, node: ast.Call) -> None:
    place = c.places.place(value)
    if place is None:
        if not c.write_roots(value, node):
            private = isinstance(value, ast.Name) and value.id in c.places.bound
            if not private and not isinstance(value, ast.Constant):
                c.refuse("store-to-expression", node, text_of(value))
    else:
        c.record(place, "write", node, "callee")


def _method(c: Expressions, node: ast.Call, f: ast.Attribute) -> None:  # noqa: PLR0912
    method = effects.METHODS.get(f.attr)
    for a in _given(node):
        _argument(c, node, a)
    if method is None:
        c.refuse("unknown-method", node, f.attr)
        c.expression(f.value)
        return
    if f.attr in effects.ORDERED_METHODS:
        for value in (f.value, *node.args):
            if f.attr != "join" or value is not f.value:
                c.ordered(value, deep=False)
    if f.attr == "format":
        for a in _given(node):
            c.ordered(a, deep=True)
    if not method.mutates:
        c.expression(f.value)
    elif c.places.place(f.value) is not None:
        c.within(f.value)
        from sidestep.sharding.analysis.sharing import shares  # noqa: PLC0415 - kept near its use

        held = frozenset[str]().union(*(shares(c.context, a, c.places.bound) for a in node.args)) - c.private
        c.access(f.value, "write", f.attr, held)
    else:
        c.expression(f.value)
        if not c.write_roots(f.value, node):
            c.refuse("mutating-method-on-expression", node, f.attr)
    for keyword in node.keywords:
        if keyword.arg == "out":
            _written(c, keyword.value, node)


def refuse_dotted(c: Expressions, name: str, node: ast.AST) -> None:
    """Say why a function of another module is refused."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        code = effects.MODULES.get(".".join(parts[:n]))
        if code:
            c.refuse(code, node, name)
            return
    c.refuse("unknown-call", node, name)
