"""Groups of objects as they were read, before anything is made of them."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from sidestep.sharding.codec.limits import Damaged
from sidestep.sharding.codec.reading import Column, Reader
from sidestep.sharding.codec.universe import (
    ARRAY,
    BYTEARRAY,
    COUNTER,
    DEFAULT,
    DEQUE,
    DICT,
    DICT_ITERATOR,
    ENUMERATE,
    FORWARD,
    FROZENSET,
    LIST,
    METHOD,
    ORDERED,
    RANGE,
    REVERSED,
    SET,
    SET_ITERATOR,
    SLICE,
    TUPLE,
    ZIP,
)


class Group:
    """Objects of one kind, with numbers from ``base``: columns of what they hold, and where each one's part begins."""

    def __init__(self, kind: int, base: int, count: int, reader: Reader) -> None:
        self.kind, self.base, self.count = kind, base, count
        self.extra: Column | None = None
        self.values: Column | None = None
        self.numbers: list[int] = []
        self.lengths: list[int] = []
        self.read(reader)
        starts = [0, *accumulate(self.lengths)]
        if len(self.lengths) != count or len(self.items) != starts[-1]:
            raise Damaged("lengths that are not true")
        self.starts = starts

    #: what the objects hold; for dicts the keys
    items: Column

    def read(self, reader: Reader) -> None:
        """Lengths and items: lists and tuples."""
        self.lengths = reader.counts()
        self.items = reader.column()

    def fixed(self, parts: int, column: Column) -> None:
        """Every object holds so many parts."""
        self.lengths = [parts] * self.count
        self.items = column

    def expect(self, *columns: Column | list[int]) -> None:
        """Raise Damaged unless each column has a value for each object."""
        if any(len(column) != self.count for column in columns):
            raise Damaged("columns of unequal lengths")


class Mappings(Group):
    """Dicts and their like; of defaultdicts ``extra`` is the factories."""

    def read(self, reader: Reader) -> None:
        """Lengths, keys, values."""
        if self.kind == DEFAULT:
            self.extra = reader.column()
            self.expect(self.extra)
        self.lengths = reader.counts()
        self.items = reader.column()
        self.values = reader.column()
        if len(self.values) != len(self.items):
            raise Damaged("as many values as keys expected")


class WithExtra(Group):
    """Sets (extra: how to fill them) and deques (extra: the largest length)."""

    def read(self, reader: Reader) -> None:
        """Extra, lengths, items."""
        self.extra = reader.column()
        self.expect(self.extra)
        super().read(reader)


class Fixed(Group):
    """Ranges and slices (three parts each), bytearrays (one)."""

    def read(self, reader: Reader) -> None:
        """The parts of all objects."""
        if self.kind == BYTEARRAY:
            self.fixed(1, reader.column(changing=True))
        else:
            self.fixed(3, reader.column())


class Iterators(Group):
    """What is iterated, and ``extra``: the position or the count."""

    def read(self, reader: Reader) -> None:
        """What it runs over, and how far."""
        if self.kind == DICT_ITERATOR:
            self.numbers = reader.ints(5, 0)
            self.expect(self.numbers)
        self.fixed(1, reader.column())
        self.extra = reader.column()
        self.expect(self.extra)


class Zips(Group):
    """Tuples of iterators, and whether they are strict."""

    def read(self, reader: Reader) -> None:
        """Strictness, lengths, iterators."""
        self.numbers = reader.ints(1, 0)
        self.expect(self.numbers)
        super().read(reader)


class Methods(Group):
    """Owners, and names of methods."""

    def read(self, reader: Reader) -> None:
        """Owners and names."""
        self.fixed(1, reader.column())
        self.extra = Column(list(reader.strings()))
        self.expect(self.extra)


class Arrays(Group):
    """Views of buffers."""

    def read(self, reader: Reader) -> None:
        """What each array looks like; where it lies is written after the last group of arrays."""
        self.dtypes = reader.strings()
        self.dims = reader.counts()
        self.shapes = reader.counts()
        self.strides = reader.ints()
        self.writeable = reader.ints(1, 0)
        self.expect(self.dims, self.writeable)
        if len(self.dtypes) != self.count or not len(self.shapes) == len(self.strides) == sum(self.dims):
            raise Damaged("arrays whose shapes are not true")
        self.fixed(0, Column([]))


GROUPS: Final[dict[int, type[Group]]] = {
    LIST: Group,
    TUPLE: Group,
    DICT: Mappings,
    COUNTER: Mappings,
    ORDERED: Mappings,
    DEFAULT: Mappings,
    SET: WithExtra,
    FROZENSET: WithExtra,
    DEQUE: WithExtra,
    BYTEARRAY: Fixed,
    RANGE: Fixed,
    SLICE: Fixed,
    ARRAY: Arrays,
    FORWARD: Iterators,
    REVERSED: Iterators,
    ENUMERATE: Iterators,
    DICT_ITERATOR: Iterators,
    SET_ITERATOR: Iterators,
    ZIP: Zips,
    METHOD: Methods,
}
