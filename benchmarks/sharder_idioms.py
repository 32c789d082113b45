"""Random programs of the idioms of everyday Python: iterables of every kind, helpers that keep or change what they get.

Like ``sharder_programs``, a program is a function of its seed; these are wider and shallower. Most fail somewhere on
the way, or are refused: what counts is that none of them leaves something else.
"""

from __future__ import annotations

import random
import textwrap
from collections import deque
from typing import Any, Final

import numpy as np

_HEAD: Final = """
import itertools
from collections import Counter, defaultdict


def put(rows, k, v):
    rows[k][0] = v


def part(rows, k):
    return rows[k]


def grown(row, v):
    row.append(v)
    return row


def fresh(row, v):
    return [*row, v]


def swapped(pair):
    one, other = pair
    return other, one

"""
_BEGIN: Final = """
a, b, c = 1, 2, 3
text = ""
out, rest = [], []
s, cnt, dd = {3, 5}, {}, defaultdict(list)
us, row, t = xs, M[0], ys
V = A
i = x = k = 0
w = "w"
"""
_END: Final = "return a, b, c, text, out, rest, s, cnt, list(dd.items()), us, t, i, x, k, w"
#: what a loop goes over, and what its target is: ints by which elements are named, values, rows, words
_OVER: Final = (
    ("range(n)", "i"), ("range(len(xs))", "i"), ("range(1, n)", "i"), ("range(n - 1, -1, -1)", "i"),
    ("range(0, n, 2)", "i"), ("xs", "x"), ("reversed(xs)", "x"), ("xs[1:]", "x"), ("xs[::-1]", "x"),
    ("sorted(xs)", "x"), ("set(xs)", "x"), ("M", "row"), ("M[1]", "x"), ("M[1:5]", "row"), ("reversed(M)", "row"),
    ("enumerate(M)", "i, row"), ("enumerate(xs)", "i, x"), ("enumerate(xs, 1)", "i, x"), ("enumerate(M[2])", "i, x"),
    ("enumerate(r[0] for r in M)", "i, x"), ("enumerate(sum(r) for r in M)", "i, x"), ("zip(xs, M)", "x, row"),
    ("zip(M, M[1:])", "row, t"), ("zip(xs, map(sum, M))", "i, x"), ("map(sum, M)", "x"), ("filter(None, xs)", "x"),
    ("itertools.chain(*M)", "x"), ("itertools.chain(M[0], M[1])", "x"), ("enumerate(itertools.chain(*M[:3]))", "i, x"),
    ("itertools.product(xs[:3], range(3))", "x, i"), ("itertools.accumulate(xs)", "x"), ("h", "k"),
    ("itertools.islice(M, 4)", "row"), ("enumerate(reversed(M))", "i, row"), ("zip(range(9), h.values())", "i, row"),
    ("h.items()", "k, row"), ("list(h.items())", "k, row"), ("h.values()", "row"), ("sorted(h)", "k"),
    ("words", "w"), ("enumerate(words)", "i, w"), ("pairs", "i, x"), ("[p for p in pairs]", "k, x"), ("A", "x"),
    ("enumerate(A)", "i, x"), ("C", "V"), ("C[1]", "x"), ("C.T", "V"), ("A[1:6]", "x"), ("zip(A, B)", "x, b"),
    ("q", "x"), ("[M[0], M[2], M[0]]", "row"), ("(xs, ys)", "row"), ("[r[:] for r in M]", "row"), ("us", "x"),
    ("part(M, 1)", "x"), ("zip(*M[:3])", "t"), ("[4, 2, 0]", "k"), ("enumerate([3, 0, 1])", "i, k"),
    ("zip([5, 1, 0], xs)", "k, x"), ("row", "x"), ("enumerate(row)", "i, x"), ("t", "x"), ("dd", "k"),
)  # fmt: skip
_INDEX: Final = (
    "{i}",
    "{i}",
    "{k}",
    "{i} + 1",
    "{i} - 1",
    "{i} % 5",
    "{k}",
    "-1",
    "0",
    "2",
    "2 * {i}",
    "n - 1",
    "-{i}",
)
_VALUE: Final = (
    "{x}", "{i}", "{x} + {i}", "a", "b", "c", "xs[{I}]", "ys[{I}]", "M[{I}][{I}]", "row[{I}]", "len(out)", "len(row)",
    "float(A[{I}])", "float(C[{I}, 1])", "sum({R})", "max({R})", "{x} * 2", "7", "len(w)", "us[{I}]", "{R}.count(3)",
    "cnt.get({K}, 0)", "int({K} in h)", "len(h)", "sum(z * {x} for z in {R})", "t[{I}]", "(a if {x} > 3 else c)",
    "float(V[{I}])", "len(s)", "part(M, {I})[1]", "min({x}, 4)", "int({x} in s)",
)  # fmt: skip
_ROW: Final = ("row", "M[{I}]", "part(M, {I})", "xs", "us", "h[{K}]", "row[:]", "M[{I}][1:]", "t")
_KEY: Final = ("{k}", "{i}", "{i} % 3", "{x}", "w", "len(w)", "({i}, {x})", "2")
_DO: Final = (
    "xs[{I}] = {X}", "ys[{I}] += {X}", "M[{I}][{I}] = {X}", "row[{I}] = {X}", "row.append({X})", "out.append({X})",
    "out.append({R})", "out.append({R}[:])", "out.append(({I}, {X}))", "out.extend({R})", "out += [{X}]",
    "h[{K}] = [{X}]", "h[{K}].append({X})", "h.setdefault({K}, []).append({X})", "h[{K}] = {R}",
    "dd[{K}].append({X})", "cnt[{K}] = cnt.get({K}, 0) + 1", "cnt[{K}] = {X}", "cnt[{K}] = cnt[{K}] * 2",
    "s.add({X})", "s.discard({X})", "if {X} in s:\n    a += 1", "a += {X}", "a -= {X}", "a = {X}", "a = max(a, {X})",
    "b = min({X}, b)", "if {X} > b:\n    b = {X}\n    c = {i}", "if {x} > b:\n    b = {x}\n    c = {i}",
    "if {X} > 2 and {x} < b:\n    b = {x}\n    c = {i}", "if {X} > 4:\n    a -= {x}\nelse:\n    a += {X}",
    "put(M, {I}, {X})", "t = grown({R}, {X})", "t = fresh({R}, {X})", "out.append(fresh({R}, {X}))",
    "M[{I}] = fresh({R}, {X})", "M[{I}] = {R}", "M[{I}], M[{I}] = M[{I}], M[{I}]",
    "xs[{I}], xs[{I}] = xs[{I}], xs[{I}]", "A[{I}] = {X}", "A[{I}:{I} + 2] = {X}", "A[A > 3] += 1",
    "C[{I}, {I}] += {X}", "C[:, {I}] = {X}", "V = C[{I}]\nV[0] = {X}", "V[{I}] = {X}", "A[{I}] = B[{I}] * 2",
    "V = A[1:]", "us = xs", "us = {R}", "us[{I}] = {X}", "us, t = t, us", "us = list(t)", "t = us", "t[{I}] = {X}",
    "q.append({X})", "q.popleft()", "xs.sort()", "M.reverse()", "xs.insert(0, {X})", "row.pop()", "del row[0]",
    "words[{I}] = words[{I}] + 'y'", "text += w", "text = w + text", "text += str({X})", "pairs[{I}] = ({X}, {I})",
    "first, *rest = {R}", "a, b = swapped((a, b))", "a = b if {X} > 3 else c", "assert {X} < 40", "row = M[{I}]",
    "row = {R}", "row = [{X}]\nout.append(row)", "out.append([z * {X} for z in {R}])",
    "out.append(any(z > {X} for z in {R}))", "out.append(f'{{{X}}}')", "row = list({R})",
    "c = (lambda z: z + {X})(2)", "out.append(sorted({R}, key=lambda z: -z))", "h.pop({K}, None)",
    "if {K} in h:\n    a += 1", "xs[{I}] += {X}\nxs[{I}] -= 1", "h[{K}] = h.get({K}, []) + [{X}]",
    "row[{I}:] = [{X}]", "a *= {X} % 3 + 1", "a ^= {i}", "if (y := {X}) > 3:\n    out.append(y)",
    "t = row\nt[{I}] = {X}", "out[-1] = {X}", "B[{I}] = V[{I}]", "np_sum = A.sum()\na = float(np_sum)",
    "if {K} not in cnt:\n    cnt[{K}] = {X}", "cnt.update({{{K}: {X}}})", "s |= {{{X}}}", "row += [{X}]",
    "M[{I}] += [{X}]",
)  # fmt: skip
_LEAVE: Final = ("break", "continue", "return out, a, b", "break", "continue")
_SIZE: Final = 9


class Idioms:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def program(self) -> str:
        """Helpers, and ``def f(xs, ys, M, h, words, pairs, q, A, B, C, n)``."""
        parts = [
            self.loop(0) if self.random.random() < 0.75 else self.simple() for _ in range(self.random.randint(2, 4))
        ]
        body = _BEGIN + "\n".join(parts) + "\n" + _END
        return _HEAD + "\ndef f(xs, ys, M, h, words, pairs, q, A, B, C, n):\n" + textwrap.indent(body, "    ") + "\n"

    def filled(self, form: str, depth: int = 2) -> str:
        """A form with names, subscripts, values, rows and keys put in."""
        r = self.random
        for mark, forms in (("{X}", _VALUE), ("{R}", _ROW), ("{K}", _KEY), ("{I}", _INDEX)):
            while mark in form:
                chosen = r.choice(forms) if depth or mark == "{I}" else "2" if mark != "{R}" else "xs"
                form = form.replace(mark, self.filled(chosen, depth - 1) if depth else chosen, 1)
        for mark in ("{i}", "{x}", "{k}"):
            form = form.replace(mark, mark[1:-1])
        return form.replace("{{", "{").replace("}}", "}")

    def simple(self) -> str:
        """A statement without a loop."""
        return self.filled(self.random.choice(_DO))

    def block(self, level: int) -> str:
        """Some statements."""
        r, made = self.random, list[str]()
        for _ in range(r.choice((1, 1, 2, 2, 3))):
            kind = r.random()
            if kind < 0.12 and level < 3:
                made.append(self.loop(level))
            elif kind < 0.18:
                made.append(self.filled("if {X} > 12:\n    ") + r.choice(_LEAVE))
            elif kind < 0.26:
                made.append(self.filled("if {X} > 4:\n") + textwrap.indent(self.simple(), "    "))
            elif kind < 0.3:
                made.append(
                    "try:\n" + textwrap.indent(self.simple(), "    ") + "\nexcept (IndexError, KeyError):\n    a += 1"
                )
            else:
                made.append(self.simple())
        return "\n".join(made)

    def loop(self, level: int) -> str:
        """A loop over anything."""
        over, target = self.random.choice(_OVER)
        made = f"for {target} in {over}:\n" + textwrap.indent(self.block(level + 1), "    ")
        return made + ("\nelse:\n    c = 5" if self.random.random() < 0.08 else "")


def program(seed: int) -> str:
    """The program of a seed."""
    return Idioms(seed).program()


def arguments(seed: int, aliasing: int) -> tuple[Any, ...]:
    """Its arguments: apart, or with rows, lists, arrays or the dict's values in common."""
    r = random.Random(seed)
    rows = [[r.randint(0, 9) for _ in range(_SIZE)] for _ in range(_SIZE)]
    xs = [r.randint(0, 8) for _ in range(_SIZE)] if seed % 3 else r.sample(range(_SIZE), _SIZE)
    ys: list[Any] = [float(r.randint(0, 9)) for _ in range(_SIZE)]
    h: dict[Any, Any] = {key: [r.randint(0, 9) for _ in range(4)] for key in r.sample(range(_SIZE), 5)}
    words = ["".join(r.choices("abc", k=r.randint(1, 3))) for _ in range(6)]
    pairs = [(r.randint(0, 8), r.randint(0, 9)) for _ in range(6)]
    a, b = np.arange(float(_SIZE)), np.arange(float(_SIZE)) * 2
    c = np.arange(float(_SIZE * _SIZE)).reshape(_SIZE, _SIZE) % 7
    if aliasing == 1:
        rows[3], rows[1] = rows[2], rows[0]
        h[next(iter(h))] = rows[4]
    elif aliasing == 2:
        ys = xs
    elif aliasing == 3:
        rows[0] = xs
    elif aliasing == 4:
        memory = np.arange(float(_SIZE + 2))
        a, b = memory[:_SIZE], memory[2:]
        if seed % 2:
            a, b = (c[1], c[:, 2]) if seed % 4 == 1 else (c[1], c[1])
    return xs, ys, rows, h, words, pairs, deque(xs), a, b, c, r.randint(3, 6)
