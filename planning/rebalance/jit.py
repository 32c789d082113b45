"""How loops are compiled: cached, without fast maths, and without counting references.

Compiled code here neither makes nor drops arrays, so numba need not count who holds them;
counting would cost ten times what a proposal does. Importing this module imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba  # type: ignore[import-untyped,import-not-found,unused-ignore]

F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = numba.njit


def compiled(function: F) -> F:
    """A function of its own in the machine code."""
    return cast(F, _njit(cache=True, _nrt=False)(function))


def inlined(function: F) -> F:
    """A function that becomes part of those that call it."""
    return cast(F, _njit(cache=True, _nrt=False, forceinline=True)(function))
