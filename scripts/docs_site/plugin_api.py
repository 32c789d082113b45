"""The page of what plugins may import: every public name with its signature and what its docstring says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_args

import msgspec

import sidestep.plugins
import sidestep.testing

_INTRO = """\
# Plugin API

Made from the code: `sidestep.plugins` for plugins, `sidestep.testing` for their tests. These names follow semantic
versioning, and nothing else does. How a package is made and checked is in [Plugins](plugins.md).

"""


def _clean(text: str) -> str:
    """Docstrings in the words of Markdown; what looks like markup is not."""
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("<", "&lt;")


def _doc(thing: Any) -> str:
    return _clean(inspect.getdoc(thing) or "")


def _typed(kind: Any) -> str:
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z_])", "", text)


def _signature(thing: Any) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    parameters = [
        each.replace(annotation=_Word(_typed(each.annotation)) if each.annotation is not each.empty else each.empty)
        for each in signature.parameters.values()
        if each.name not in {"self", "cls"}
    ]
    back = signature.return_annotation
    told = _Word(_typed(back)) if back is not signature.empty and back is not None else signature.empty
    whole = str(signature.replace(parameters=parameters, return_annotation=told))
    if len(whole) <= WIDTH:
        return whole
    back_too = whole.rpartition(")")[2]
    listed = "".join(f"\n        {each}," for each in _words(parameters))
    return f"({listed}\n    ){back_too}"


def _words(parameters: list[inspect.Parameter]) -> Iterator[str]:
    named = False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not named:
            named = True
            yield "*"
        yield str(each)


#: characters of a signature from which on it is written over several lines
WIDTH = 72


class _Word:
    """Prints as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _struct(kind: type[msgspec.Struct]) -> Iterator[str]:
    yield from ("| field | type | default |", "|---|---|---|")
    for field in msgspec.structs.fields(kind):
        default = "" if field.required else "…" if field.default is msgspec.NODEFAULT else f"`{field.default!r}`"
        shown = _typed(field.type).replace("|", "\\|")
        yield f"| `{field.name}` | `{shown}` | {default} |"
    yield ""


def _members(kind: type) -> Iterator[str]:
    """Methods that have something to say, in the order of their definition, those of bases of ours too."""
    said: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("sidestep"):
            said |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    for name, value in said.items():
        if isinstance(value, property):
            yield from (f"#### `{name}`", "", _doc(value.fget), "")
        elif inspect.isfunction(value) or isinstance(value, classmethod | staticmethod):
            function = value if inspect.isfunction(value) else value.__func__
            kept = "async " if inspect.iscoroutinefunction(function) else ""
            yield from (f"#### `{name}`", "", f"    {kept}{name}{_signature(function)}", "", _doc(function), "")


def _entry(name: str, thing: Any) -> Iterator[str]:
    yield from (f"### {name}", "")
    if isinstance(thing, str | int | float):
        yield from (f"`{thing!r}`", "")
        return
    if not inspect.isclass(thing) and get_args(thing):
        yield from ("One of " + ", ".join(f"`{each!r}`" for each in get_args(thing)) + ".", "")
        return
    if inspect.isfunction(thing):
        kept = "async " if inspect.iscoroutinefunction(thing) else ""
        yield from (f"    {kept}{name}{_signature(thing)}", "", _doc(thing), "")
        return
    yield from (_doc(thing), "")
    if not inspect.isclass(thing) or thing.__doc__ is None:
        return
    if issubclass(thing, msgspec.Struct):
        yield from _struct(thing)
    elif hasattr(thing, "__members__"):
        yield from (", ".join(f"`{each}`" for each in thing.__members__), "")
        return
    yield from _members(thing)


def _module(module: ModuleType) -> list[str]:
    lines = [f"## {module.__name__}", "", _doc(module), ""]
    for name in sorted(module.__all__, key=str.lower):
        lines += _entry(name, getattr(module, name))
    return lines


def page() -> str:
    """The whole page."""
    return _INTRO + "\n".join([*_module(sidestep.plugins), *_module(sidestep.testing)]) + "\n"
