"""What an input is like, as numbers and kinds that the oracle learns durations from. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: what a report may have (docs/invocations.md)
MOST: Final = 16
LONGEST: Final = 40


def features(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers by value, short texts as kinds, containers and arrays by length, arrays by bytes too."""
    found: dict[str, float | str] = {}
    given = [*((names[i] if i < len(names) else f"arg{i}", value) for i, value in enumerate(args)), *kwargs.items()]
    for name, value in given:
        found |= _of(name[: LONGEST - 6], value)
        if len(found) >= MOST:
            break
    return dict(list(found.items())[:MOST])


def _of(name: str, value: Any) -> dict[str, float | str]:
    if isinstance(value, bool | int | float):
        number = float(value) if abs(value) < 1e300 else math.inf
        return {name: number} if math.isfinite(number) else {}
    if isinstance(value, str):
        return {name: value, f"{name}.len": float(len(value))} if len(value) <= LONGEST else {f"{name}.len": len(value)}
    size, nbytes = getattr(value, "size", None), getattr(value, "nbytes", None)
    if isinstance(size, int) and isinstance(nbytes, int):
        return {f"{name}.size": float(size), f"{name}.bytes": float(nbytes)}
    try:
        return {f"{name}.len": float(len(value))}
    except TypeError:
        return {}
