"""Keeps compiled solvers from writing to the terminal: HiGHS prints through file descriptors, not Python.

A stray line in the middle of a screen or of a JSON answer is worse than a lost one. The
descriptors belong to the whole process, so threads share one redirection: the first that
enters makes it, the last that leaves takes it back.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_OUTPUTS = (1, 2)
_lock = threading.Lock()
_inside = 0
_saved: dict[int, int] = {}


@contextmanager
def silent() -> Iterator[None]:
    """Whatever is written to standard output and error meanwhile is thrown away; always put back."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside  # noqa: PLW0603 — a property of the process
    with _lock:
        if _inside == 0:
            _flush()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                for number in _OUTPUTS:
                    with suppress(OSError):  # closed: nothing can be written there
                        _saved[number] = os.dup(number)
                        os.dup2(nowhere, number)
            finally:
                os.close(nowhere)
        _inside += 1


def _leave() -> None:
    global _inside  # noqa: PLW0603 — a property of the process
    with _lock:
        _inside -= 1
        if _inside == 0:
            _flush_compiled()
            for number, kept in _saved.items():
                os.dup2(kept, number)
                os.close(kept)
            _saved.clear()


def _flush() -> None:
    """What was written before belongs to the terminal."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    _flush_compiled()


def _flush_compiled() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
