"""A shard in a worker process: private copies, run, say what was written.

The source's digest was checked; compiled sources are kept. Warnings and exceptions end a shard as ``failed``: the
coordinator then runs the original loop, where they happen as they should.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from sidestep.sharding import codec
from sidestep.sharding.execute.contract import BadPayload, ShardTask
from sidestep.sharding.execute.differences import Unmergeable, changes, remembered
from sidestep.sharding.execute.emitting import FUNCTION, META
from sidestep.sharding.execute.rewriting import RAN
from sidestep.sharding.execute.shipping import Freezer
from sidestep.sharding.execute.walk import Outside, Survey, surveyed

_KEPT: Final = 64
_SOURCES: Final = OrderedDict[str, dict[str, Any]]()
_LENGTHS: Final = struct.Struct(">QQ")
DONE, FAILED = "done", "failed"


def run_task(task: ShardTask) -> bytes:
    """Run one shard; raises BadPayload for live-ins that are none."""
    namespace = dict(_compiled(task))
    common, own = split_live(task.live)
    try:
        shipped = codec.loads(common)
        items = codec.loads(own) if own else None
    except (codec.Damaged, codec.Refused) as error:
        raise BadPayload(f"live-ins: {error}") from error
    meta: dict[str, Any] = json.loads(namespace[META])
    try:
        answer = _run(namespace, meta, shipped, items, task)
        return codec.dumps(answer)
    except (Unmergeable, Outside, codec.Refused, ValueError) as error:
        return codec.dumps((FAILED, f"result: {error}"[:200]))


def _compiled(task: ShardTask) -> dict[str, Any]:
    known = _SOURCES.get(task.digest)
    if known is None:
        known = {"__name__": "_sd_shard", "_sd_now": now, "_sd_all": everything, "_sd_key": key, "_sd_pick": pick}
        exec(compile(task.source, f"<shard {task.block}>", "exec"), known)  # noqa: S102 - what a worker is for
        _SOURCES[task.digest] = known
        while len(_SOURCES) > _KEPT:
            _SOURCES.popitem(last=False)
    return known


def join_live(common: bytes, own: bytes) -> bytes:
    """What all shards of a loop share, and what only this one needs, as one string of bytes."""
    return b"".join((_LENGTHS.pack(len(common), len(own)), common, own))


def split_live(live: bytes) -> tuple[memoryview, memoryview]:
    """The two parts again. Raises BadPayload."""
    if len(live) < _LENGTHS.size:
        raise BadPayload("live-ins are cut short")
    first, second = _LENGTHS.unpack_from(live)
    at = _LENGTHS.size
    if len(live) != at + first + second:
        raise BadPayload("live-ins are cut short")
    view = memoryview(live)
    return view[at : at + first], view[at + first :]


def survey_of(live: dict[str, Any], items: Any, written: list[str], items_written: bool) -> tuple[Survey, list[int]]:
    """The objects of what is shipped, in an order that both sides agree on; and which of them may be written."""
    survey = surveyed(*(live[name] for name in written))
    if items_written:
        for item in items or ():
            survey.visit(item)
    count = len(survey.objects)
    for name in sorted(live):
        if name not in written:
            survey.visit(live[name])
    survey.visit(items)
    return survey, list(range(count))


def _run(namespace: dict[str, Any], meta: dict[str, Any], shipped: Any, own: Any, task: ShardTask) -> tuple[Any, ...]:
    live, items = shipped
    shard: Callable[..., Any] = namespace[FUNCTION]
    function_globals = shard.__globals__
    given = function_globals if not meta["globals"] else {**function_globals}
    for name in meta["globals"]:
        given[name] = live[name]
    if given is not function_globals:
        shard = _rebound(namespace, given)
    written = [name for name in meta["written"] if name in live]
    survey, may = survey_of(live, items, written, bool(meta["items"]))
    before = remembered(survey.objects, may)
    part = own if own is not None else items[task.first : task.last]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            how, value, logs, picked = shard(part, *(live[name] for name in meta["live"]))
        except Exception as error:  # noqa: BLE001 - whatever the program raises
            return FAILED, f"{type(error).__name__}: {error}"[:200]
        if said:
            return FAILED, f"warning: {said[0].message}"[:200]
    freeze = Freezer(survey)
    changed = changes(survey.objects, before, freeze)
    kept = {name: freeze.column(log) for name, log in logs.items()}
    values = {name: freeze(v) for name, v in picked.items()}
    returned = freeze(value) if how != RAN else None
    return DONE, how, returned, changed, kept, values


def _rebound(namespace: dict[str, Any], given: dict[str, Any]) -> Callable[..., Any]:
    """The shard's functions with module variables of their own."""
    import types  # noqa: PLC0415 - for loops that read module variables only

    for name, one in namespace.items():
        if isinstance(one, types.FunctionType) and one.__module__ == "_sd_shard":
            fresh = types.FunctionType(one.__code__, given, one.__name__, one.__defaults__, one.__closure__)
            fresh.__kwdefaults__ = one.__kwdefaults__
            given[name] = fresh
    made: Callable[..., Any] = given[FUNCTION]
    return made


def now(value: Any) -> Any:
    """A term as it is at this moment."""
    kind = type(value)
    if kind is np.ndarray:
        return value.copy()
    if kind is list:
        return list(value)
    if kind is dict:
        return dict(value)
    if kind is set:
        return set(value)
    if kind in (int, float, str, bool, bytes, complex, tuple, type(None), range, frozenset) or isinstance(
        value, np.generic
    ):
        return value
    return list(value)


def everything(value: Any) -> Any:
    """What an extend or update takes from its argument, at this moment."""
    return dict(value) if isinstance(value, dict) else list(value)


def key(value: Any) -> Any:
    """A member of a set; raises TypeError where the original would."""
    hash(value)
    return value


def pick(local: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Those of the names that are bound."""
    return {name: local[name] for name in names if name in local}
