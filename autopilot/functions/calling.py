"""From a Python function to a call that travels, and from its outcome to what the call gives."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sidestep.backends.functions import blocks
from sidestep.backends.functions.features import features
from sidestep.backends.functions.job import Call, Finished
from sidestep.backends.functions.payload import encode_call, raise_error
from sidestep.backends.functions.sources import PLAIN, bundle
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.sharding import codec


def call_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """A call of a function of a module in a file. Raises UsageError for others, and for what cannot travel."""
    plain = getattr(function, PLAIN, function)
    name = getattr(plain, "__qualname__", "")
    module = sys.modules.get(getattr(plain, "__module__", ""))
    file = getattr(module, "__file__", None)
    if not inspect.isfunction(plain) or "<" in name or "." in name or file is None:
        raise UsageError(
            f"{name or function!r} cannot run on hosts: it is no function of a module in a file",
            hint="define it with def at the top of a .py file; lambdas, methods and inner functions stay here",
        )
    path = Path(file)
    depth = 0 if module is None or module.__name__ == "__main__" else module.__name__.count(".")
    root = path.resolve().parents[depth + (path.name == "__init__.py")]
    names = list(inspect.signature(plain).parameters)
    found = tuple(features(names, args, kwargs).items())
    return Call(source=bundle(path, root=root), function=name, args=encode_call(args, kwargs), features=found)


def call_in(file: Path, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """A call of a function in a file that is not imported here."""
    if not file.is_file():
        raise UsageError(f"{file} is no file", hint="write it as path/file.py:function")
    found = tuple(features((), args, kwargs).items())
    return Call(source=bundle(file), function=function, args=encode_call(args, kwargs), features=found)


def value_of(finished: Finished) -> Any:
    """What the function returned; raises what it raised, or SidestepError for what cannot travel."""
    outcome = finished.outcome
    if outcome.kind == blocks.DONE:
        return codec.loads(outcome.value)
    if outcome.kind == blocks.RAISED:
        raise_error(outcome.error, outcome.text, outcome.value, outcome.trace)
    raise SidestepError(f"{finished.host}: {outcome.text}", hint="see what may travel in docs/functions.md")
