"""Objects from groups: empty ones first, then those that cannot change, then what the empty ones hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from operator import is_
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.codec import tables
from sidestep.sharding.codec.arrays import ALIGN, dtype_of, room, view
from sidestep.sharding.codec.groups import Arrays, Group
from sidestep.sharding.codec.iterators import resumed_dict, resumed_set
from sidestep.sharding.codec.limits import Damaged
from sidestep.sharding.codec.reading import UNBUILT, Reader
from sidestep.sharding.codec.universe import (
    BYTEARRAY,
    DEFAULT,
    DEQUE,
    DICT_ITERATOR,
    ENUMERATE,
    FORWARD,
    FROZENSET,
    ITERABLE,
    KIND,
    LIST,
    MAPPINGS,
    METHOD,
    METHODS,
    RANGE,
    REVERSED,
    SET,
    SET_ITERATOR,
    SLICE,
    TUPLE,
    ZIP,
)

_ITERATORS: Final = frozenset({FORWARD, REVERSED, ENUMERATE, ZIP, DICT_ITERATOR, SET_ITERATOR})


class Builder:
    """Builds the objects of one value."""

    def __init__(self, groups: list[Group], total: int, reader: Reader) -> None:
        self._groups, self._reader = groups, reader
        self.objects: list[Any] = [UNBUILT] * total
        self._owner: list[int] = []
        self._refs: dict[int, list[int]] = {}
        self._keyed: set[int] = set()
        self._positions: list[tuple[Any, int]] = []

    def memory(self, buffers: Iterable[NDArray[np.uint8]], *, copy: bool) -> None:
        """Read where arrays lie, and make them. Raises Damaged."""
        groups = [group for group in self._groups if isinstance(group, Arrays)]
        count = sum(group.count for group in groups)
        where, starts = self._reader.counts(), self._reader.counts()
        align = self._reader.ints(ALIGN - 1, 0)
        given = list(buffers)
        if not len(where) == len(starts) == count or len(align) != len(given) or max(where, default=0) > len(given):
            raise Damaged("arrays whose memory is not there")
        memories: list[NDArray[np.uint8] | None] = [None]
        for one, at in zip(given, align, strict=True):
            if copy or not _own(one, at):
                self._reader.claim(one.nbytes + 2 * ALIGN)
                memories.append(room(one.nbytes, at))
                np.copyto(memories[-1], one)  # type: ignore[arg-type]
            else:
                memories.append(one)
        turn = 0
        for group in groups:
            dims = 0
            for at in range(group.count):
                parts = slice(dims, dims + group.dims[at])
                dims = parts.stop
                array = view(
                    memories[where[turn]],
                    dtype_of(group.dtypes[at]),
                    tuple(group.shapes[parts]),
                    tuple(group.strides[parts]),
                    starts[turn],
                )
                array.flags.writeable = bool(group.writeable[at])
                self.objects[group.base + at] = array
                turn += 1

    def build(self) -> None:
        """Make and fill everything. Raises Damaged."""
        for group in self._groups:
            self._empty(group)
        slow = [group for group in reversed(self._groups) if group.kind in _MADE and not self._at_once(group)]
        if slow:
            self._owner = [at for at, group in enumerate(self._groups) for _ in range(group.count)]
        for group in slow:
            for number in range(group.base, group.base + group.count):
                self._one(number)
        for group in self._groups:
            if group.kind in _FILL:
                self._fill(group)
        for iterator, position in self._positions:
            iterator.__setstate__(position)

    def _empty(self, group: Group) -> None:
        span = slice(group.base, group.base + group.count)
        if group.kind == LIST:
            self.objects[span] = [[] for _ in range(group.count)]
        elif group.kind == SET:
            self.objects[span] = [set() for _ in range(group.count)]
        elif group.kind == DEFAULT:
            assert group.extra is not None
            self.objects[span] = [MAPPINGS[DEFAULT](one) for one in group.extra.resolved(self.objects)]
        elif group.kind in MAPPINGS:
            self.objects[span] = [MAPPINGS[group.kind]() for _ in range(group.count)]
        elif group.kind == DEQUE:
            assert group.extra is not None
            self.objects[span] = [deque(maxlen=one) for one in group.extra.resolved(self.objects)]
        elif group.kind == BYTEARRAY:
            if set(map(type, group.items.values)) - {bytes, bytearray}:
                raise Damaged("bytes expected")
            # Those that were read as bytearrays are this group's own.
            self.objects[span] = [one if type(one) is bytearray else bytearray(one) for one in group.items.values]

    def _at_once(self, group: Group) -> bool:
        """Make a group of tuples, ranges or slices in one go, if all they hold is there."""
        if group.kind not in {TUPLE, RANGE, SLICE}:
            return False
        items = group.items.resolved(self.objects)
        if any(map(is_, items, (UNBUILT,) * len(items))):
            return False
        rest = iter(items)
        parts = [tuple(islice(rest, length)) for length in group.lengths]
        made: list[Any] = parts
        if group.kind == RANGE:
            if set(map(type, items)) - {int}:
                raise Damaged("a range of what is no number")
            made = [range(*part) for part in parts]
        elif group.kind == SLICE:
            made = [slice(*part) for part in parts]
        self.objects[group.base : group.base + group.count] = made
        return True

    def _held(self, number: int) -> list[int]:
        """References that an object holds (of a dict: its keys)."""
        at = self._owner[number]
        if at not in self._refs:
            self._refs[at] = self._groups[at].items.references()
        group = self._groups[at]
        part = number - group.base
        return self._refs[at][group.starts[part] : group.starts[part + 1]]

    def _needs(self, number: int) -> list[int]:
        """What must be there before an object can be made."""
        held = [ref for ref in self._held(number) if ref >= 0]
        kind = self._groups[self._owner[number]].kind
        if kind in {DICT_ITERATOR, SET_ITERATOR}:
            held += [ref for over in held for ref in self._held(over) if ref >= 0]
        return [ref for ref in held if self.objects[ref] is UNBUILT]

    def _one(self, number: int) -> None:
        """Make one object, and first whatever it needs. Raises Damaged for a cycle."""
        stack, waiting = [number], set[int]()
        while stack:
            at = stack[-1]
            if self.objects[at] is not UNBUILT:
                stack.pop()
            elif not (missing := self._needs(at)):
                group = self._groups[self._owner[at]]
                self.objects[at] = _MADE[group.kind](self, group, at - group.base)
                stack.pop()
            elif at in waiting:
                raise Damaged("a cycle of values that cannot be in one")
            else:
                waiting.add(at)
                stack += missing

    def part(self, group: Group, at: int) -> list[Any]:
        """What one object holds."""
        start, stop = group.starts[at], group.starts[at + 1]
        if group.items.where is None:
            return [self.objects[ref] for ref in group.items.refs[start:stop]]
        values = group.items.values[start:stop]
        number = group.base + at
        for place, ref in enumerate(self._held(number)):
            if ref >= 0:
                values[place] = self.objects[ref]
        return values

    def keyed(self, over: Any, number: int) -> None:
        """Put the keys of one dict, or the elements of one set, before their turn."""
        if number in self._keyed:
            return
        self._keyed.add(number)
        group = self._groups[self._owner[number]]
        keys = self.part(group, number - group.base)
        if group.kind == SET:
            self._elements(group, number - group.base, over, keys)
        else:
            over.update(dict.fromkeys(keys))

    def _elements(self, group: Group, at: int, one: set[Any], elements: list[Any]) -> None:
        how = _extra(group, at)
        tables.filled(one, elements, 0 if how is None else how & 0xFFFFFFFF)
        if how is not None:
            tables.check(one, how)

    def _fill(self, group: Group) -> None:
        rest = iter(group.items.resolved(self.objects))
        values = iter(group.values.resolved(self.objects)) if group.values is not None else iter(())
        for at, length in enumerate(group.lengths):
            one = self.objects[group.base + at]
            if group.kind in {LIST, DEQUE}:
                one.extend(islice(rest, length))
            elif group.kind == SET:
                elements = list(islice(rest, length))
                if group.base + at not in self._keyed:
                    self._elements(group, at, one, elements)
            else:
                MAPPINGS_UPDATE(one, zip(islice(rest, length), islice(values, length), strict=True))
            if len(one) != length:
                raise Damaged("keys that are not distinct")

    def over(self, group: Group, at: int) -> Any:
        """What an iterator runs over."""
        (one,) = self.part(group, at)
        return one

    def forward(self, group: Group, at: int) -> Any:
        """An iterator over a sequence."""
        over = self.over(group, at)
        if type(over) not in ITERABLE:
            raise Damaged("an iterator over what cannot be iterated")
        iterator: Any = iter(over) if group.kind == FORWARD else reversed(over)
        if (position := _extra(group, at)) is not None:
            if type(position) is not int:
                raise Damaged("a position that is no number")
            self._positions.append((iterator, position))
        return iterator

    def enumerated(self, group: Group, at: int) -> Any:
        """An enumerate."""
        inner = self.over(group, at)
        if KIND.get(type(inner)) not in _ITERATORS or type(_extra(group, at)) is not int:
            raise Damaged("an enumerate over what is no iterator")
        return enumerate(inner, _extra(group, at))

    def zipped(self, group: Group, at: int) -> Any:
        """A zip."""
        inner = self.part(group, at)
        if any(KIND.get(type(one)) not in _ITERATORS for one in inner):
            raise Damaged("a zip over what is no iterator")
        return zip(*inner, strict=bool(group.numbers[at]))

    def over_dict(self, group: Group, at: int) -> Any:
        """An iterator over a dict."""
        over, done = self.over(group, at), _extra(group, at)
        ((number,)) = self._held(group.base + at)
        if type(over) not in MAPPINGS.values():
            raise Damaged("an iterator over what is no dict")
        self.keyed(over, number)
        return resumed_dict(group.numbers[at], over, _bounded(done, len(over)))

    def over_set(self, group: Group, at: int) -> Any:
        """An iterator over a set."""
        over, done = self.over(group, at), _extra(group, at)
        ((number,)) = self._held(group.base + at)
        if type(over) is set:
            self.keyed(over, number)
        elif type(over) is not frozenset:
            raise Damaged("an iterator over what is no set")
        return resumed_set(over, _bounded(done, len(over)))

    def frozen(self, group: Group, at: int) -> Any:
        """A frozenset."""
        how, elements = _extra(group, at), self.part(group, at)
        one = tables.frozen(elements, 0 if how is None else how & 0xFFFFFFFF)
        if how is not None:
            tables.check(one, how)
        if len(one) != len(elements):
            raise Damaged("elements that are not distinct")
        return one

    def plain(self, group: Group, at: int) -> Any:
        """A tuple, a range or a slice."""
        made: Callable[..., Any] = {RANGE: range, SLICE: slice}.get(group.kind, lambda *parts: parts)
        return made(*self.part(group, at))

    def method(self, group: Group, at: int) -> Any:
        """A bound method of a built-in object."""
        owner, name = self.over(group, at), _extra(group, at)
        if name not in METHODS.get(type(owner), ()):
            raise Damaged("no method of the universe")
        return getattr(owner, name)


MAPPINGS_UPDATE: Final = dict.update


def _extra(group: Group, at: int) -> Any:
    assert group.extra is not None
    return group.extra.values[at] if group.extra.where is not None else UNBUILT


def _bounded(done: Any, length: int) -> int:
    if type(done) is not int or not 0 <= done <= length:
        raise Damaged("a position outside")
    return done


def _own(one: NDArray[np.uint8], align: int) -> bool:
    root: Any = one
    while type(root.base) is np.ndarray:
        root = root.base
    address: int = one.__array_interface__["data"][0]
    return root.base is None and bool(one.flags.writeable) and address % ALIGN == align


_FILL: Final = frozenset({LIST, SET, DEQUE, *MAPPINGS})
_MADE: Final[dict[int, Callable[[Builder, Group, int], Any]]] = {
    TUPLE: Builder.plain,
    RANGE: Builder.plain,
    SLICE: Builder.plain,
    FROZENSET: Builder.frozen,
    FORWARD: Builder.forward,
    REVERSED: Builder.forward,
    ENUMERATE: Builder.enumerated,
    ZIP: Builder.zipped,
    DICT_ITERATOR: Builder.over_dict,
    SET_ITERATOR: Builder.over_set,
    METHOD: Builder.method,
}
