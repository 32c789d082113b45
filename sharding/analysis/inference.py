"""Types and regions of a function's names, as a fixed point over its statements."""

from __future__ import annotations

import ast

from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.analysis.trees import loaded, target_names, walk
from sidestep.sharding.analysis.typing_values import is_array, parts, type_of
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import ANY, BOT, FUNC, Type, dict_of, element, join, scalar, stored

_ROUNDS = 8
_GROWS_FIRST = frozenset({"heapq.heappush", "heapq.heapreplace", "heapq.heappushpop", "bisect.insort",
                          "bisect.insort_left", "bisect.insort_right"})  # fmt: skip


def infer(context: Context) -> None:
    """Fill ``context.types`` and unite names that may share memory; what does not settle becomes ``any``."""
    nodes = list(walk(context.node.body))
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            context.types[node.name] = FUNC if isinstance(node, ast.FunctionDef) else ANY
    before = dict[str, Type]()
    for _ in range(_ROUNDS):
        before, context.changed = dict(context.types), False
        for node in nodes:
            _statement(context, node)
        if before == context.types and not context.changed:
            return
    for name, t in context.types.items():
        if before.get(name) != t:
            context.types[name] = ANY


def _statement(context: Context, node: ast.AST) -> None:  # noqa: PLR0912 - one statement a branch
    match node:
        case ast.Assign():
            t = type_of(context, node.value)
            for target in node.targets:
                assign(context, target, t, node.value)
        case ast.AnnAssign(value=ast.expr() as value):
            assign(context, node.target, type_of(context, value), value)
        case ast.AugAssign():
            after = ast.BinOp(left=loaded(node.target), op=node.op, right=node.value)
            t = type_of(context, after)
            if isinstance(node.target, ast.Name):
                t = join(t, context.types.get(node.target.id, BOT))
            assign(context, node.target, t, after)
            if isinstance(node.op, ast.Add | ast.BitOr) and not is_array(context, node.target):
                _extended(context, node.target, node.value)
        case ast.For() | ast.AsyncFor():
            assign(context, node.target, element(type_of(context, node.iter)), node.iter)
        case ast.NamedExpr():
            assign(context, node.target, type_of(context, node.value), node.value)
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                if item.optional_vars is not None:
                    assign(context, item.optional_vars, ANY, item.context_expr)
        case ast.ExceptHandler(name=str() as name):
            context.types[name] = ANY
        case ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name):
            context.types[name] = ANY
        case ast.Call():
            _call(context, node)


def _extended(context: Context, target: ast.expr, value: ast.expr) -> None:
    """``xs += ys`` takes the elements of ys into the list xs itself."""
    root = context.root(target)
    if root and not scalar(type_of(context, target)):
        _grow_at(context, root, target, element(type_of(context, value)))
        for name in shares(context, value):
            context.unite(root, name)


def _call(context: Context, node: ast.Call) -> None:  # noqa: PLR0912
    f = node.func
    if isinstance(f, ast.Attribute) and f.attr in effects.HOLDS and not context.dotted(f):
        root = context.root(f.value)
        for held in (*node.args, *(k.value for k in node.keywords)) if root else ():
            assert root is not None
            t = type_of(context, held)
            if f.attr in {"extend", "update", "extendleft"}:
                t = join(stored(t), element(t)) if not t.args or t.name != "dict" else stored(t)
            key = type_of(context, node.args[0]) if f.attr == "setdefault" else ANY if f.attr == "update" else None
            if isinstance(f.value, ast.Name):
                grow(context, root, t, key)
            else:
                grow(context, root, ANY, ANY)
            for name in shares(context, held):
                context.unite(root, name)
    elif isinstance(f, ast.Name) and context.known_function(f.id):
        for holder, held in context.linked(context, node):
            for one in shares(context, holder):
                grow(context, one, ANY, ANY)
                for other in shares(context, held):
                    context.unite(one, other)
    elif context.dotted(f) in _GROWS_FIRST and len(node.args) > 1:
        root = context.root(node.args[0])
        if root:
            _grow_at(context, root, node.args[0], type_of(context, node.args[1]))
            for name in shares(context, node.args[1]):
                context.unite(root, name)


def grow(context: Context, name: str, value: Type, key: Type | None = None) -> None:
    """A container, and everything that may share memory with it, comes to hold values of this type too.

    When the name's own type has room for the value already, so have the others': they name the same object.
    """
    own = context.types.get(name, ANY)
    if _grown(own, value, key) == own and own != ANY:
        return
    region = context.region(name)
    for other, t in list(context.types.items()):
        if other == name or context.region(other) == region:
            context.types[other] = _grown(t, value, key)


def _grown(t: Type, value: Type, key: Type | None) -> Type:
    if t.name in {"list", "set", "iter"}:
        return Type(t.name, (join(t.args[0], value),))
    if t.name == "dict":
        return dict_of(join(t.args[0], key or ANY), join(t.args[1], value))
    if t.name in {"tuple", "tuples"} and not scalar(t):
        return Type(t.name, tuple(x if scalar(x) else _deep(x) for x in t.args))
    return t


def _deep(t: Type) -> Type:
    """A container inside a tuple, of which something may have changed."""
    return t if t.name in {"array", "numarr"} else ANY


def _grow_at(context: Context, root: str, place: ast.expr, leaf: Type) -> None:
    """Grow what the place names within the root: ``M[i]`` of M is one level down."""
    depth, x = 1, place
    while isinstance(x, ast.Subscript):
        depth, x = depth + 1, x.value
    if not isinstance(x, ast.Name):
        grow(context, root, ANY, ANY)
    elif depth == 1:
        grow(context, root, leaf)
    else:
        grow(context, root, _nested(context.types.get(root, ANY), depth, leaf))


def _nested(t: Type, depth: int, leaf: Type) -> Type:
    """The type of ``t``'s elements after a leaf was stored ``depth`` levels down."""
    if depth == 1:
        return leaf
    inner = stored(t)
    grown = _nested(inner, depth - 1, leaf)
    if inner.name in {"list", "set"}:
        return Type(inner.name, (join(inner.args[0], grown),))
    if inner.name == "dict":
        return dict_of(join(inner.args[0], ANY), join(inner.args[1], grown))
    return inner if inner.name in {"array", "numarr"} else ANY


def assign(context: Context, target: ast.expr, t: Type, value: ast.expr) -> None:
    """Let a target hold a value's type and share its memory."""
    if isinstance(target, ast.Subscript):
        _store(context, target, t, value)
        return
    if isinstance(target, ast.Attribute):
        root = context.root(target)
        if root:
            for name in shares(context, value):
                context.unite(root, name)
        return
    if isinstance(target, ast.Tuple | ast.List):
        for e in target.elts:
            inner = e.value if isinstance(e, ast.Starred) else e
            if isinstance(inner, ast.Subscript | ast.Attribute):
                assign(context, inner, element(t) if t.name != "any" else ANY, value)
    for name, part in parts(target, t):
        context.types[name] = join(context.types.get(name, BOT), part)
    shared = shares(context, value)
    for name in target_names(target) if shared else ():
        if not scalar(context.types.get(name, ANY)):
            for other in shared:
                context.unite(name, other)


def _store(context: Context, target: ast.Subscript, t: Type, value: ast.expr) -> None:
    root = context.root(target)
    if root is None:
        return
    array = is_array(context, target.value)
    if not array:
        leaf = element(t) if isinstance(target.slice, ast.Slice) else t
        if isinstance(target.value, ast.Name):
            grow(context, root, leaf, type_of(context, target.slice))
        else:
            base = type_of(context, target.value)
            if join(stored(base), leaf) != stored(base):
                _grow_at(context, root, target.value, leaf)
        for name in shares(context, value):
            context.unite(root, name)
