"""Calls, results and exceptions as bytes of the closed universe; nothing here can carry code.

An exception comes back as what it is when its type is a built-in one, and otherwise as
FunctionFailed with the type's name: a class is never looked up by a name that a host sent.
"""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub
from sidestep.sharding import codec

_HINT: Final = "pass numbers, text, bytes, lists, tuples, dicts, sets and numpy arrays (docs/functions.md)"
#: exceptions that are raised again as themselves
_KNOWN: Final[dict[str, type[Exception]]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__ == name
}


class FunctionFailed(SidestepError):
    """The function raised an exception of a type of its own; ``kind`` is the type's name."""

    def __init__(self, kind: str, text: str, trace: str = "") -> None:
        self.kind, self.trace = scrub(kind), scrub(trace, 4000)
        super().__init__(f"{self.kind}: {text}" if text else str(self.kind))


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Arguments as bytes. Raises UsageError for values that cannot travel."""
    try:
        return codec.dumps((tuple(args), dict(kwargs)))
    except codec.Refused as error:
        raise UsageError(f"an argument cannot travel: {error}", hint=_HINT) from None


def decode_call(data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments. Raises codec.Damaged."""
    value = codec.loads(data)
    if type(value) is tuple and len(value) == 2 and type(value[0]) is tuple and type(value[1]) is dict:
        return value[0], value[1]
    raise codec.Damaged("these are not the arguments of a call")


def encode_error(error: Exception, file: str) -> dict[str, Any]:
    """The fields of an Outcome for an exception; of the trace only what is in the function's own source."""
    kind = type(error)
    try:
        value = codec.dumps(tuple(error.args)) if _KNOWN.get(kind.__name__) is kind else b""
    except codec.Refused:
        value = b""
    steps = [step for step in traceback.extract_tb(error.__traceback__) if step.filename.startswith(file)]
    trace = "; ".join(f"line {step.lineno} in {step.name}: {step.line}" for step in steps[-8:])
    return {"value": value, "error": kind.__name__, "text": str(error)[:4000], "trace": trace[:4000]}


def raise_error(name: str, text: str, value: bytes, trace: str) -> NoReturn:
    """Raise what a function raised elsewhere."""
    known = _KNOWN.get(name)
    if known is not None and value:
        args = codec.loads(value)
        if type(args) is tuple:
            error: Exception
            try:
                error = known(*args)
            except Exception:  # noqa: BLE001 - a constructor that wants other arguments than those that it kept
                error = FunctionFailed(name, text, trace)
            if trace:
                error.add_note(f"on a host: {scrub(trace, 4000)}")
            raise error
    raise FunctionFailed(name, text, trace)
