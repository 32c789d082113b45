"""Random programs of the closed universe: loops over lists, rows, arrays, dicts and sets, with every way to leave one.

A program is a function of its seed, so a failure is named by three numbers. Arguments may be aliased in several ways.
"""

from __future__ import annotations

import random
import textwrap
from typing import Any

import numpy as np

#: how arguments share memory: not at all, rows of M, xs and ys, a row and xs, arrays that overlap
ALIASINGS = 5
_SCALARS = ["a", "b", "c"]
_SIZE = 14


class Writer:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def program(self) -> str:
        """``def f(xs, ys, M, A, B, n)``."""
        head = "a = 1\nb = 2\nc = 3\nout = []\nd = {}\ns = set()\n"
        body = head + self.block(3, [], 0, 4) + "\nfor i9 in range(n):\n"
        body += textwrap.indent(self.block(2, ["i9"], 1, 3), "    ")
        body += "\nreturn a, b, c, out, d, s, xs"
        return "def f(xs, ys, M, A, B, n):\n" + textwrap.indent(body, "    ") + "\n"

    def index(self, loops: list[str]) -> str:
        """A subscript, affine or not."""
        v = self.random.choice([*loops, "2", "0"])
        choices = (v, v, v, f"({v} + 1)", f"({v} - 1)", f"(2 * {v})", f"({v} * n + 1)", "int(ys[2]) % 3", f"{v} % 5")
        return self.random.choice(choices)

    def expression(self, depth: int, loops: list[str]) -> str:
        """A number."""
        r, at = self.random, self.index
        kind = r.randrange(8)
        if depth <= 0 or kind == 0:
            return r.choice([*_SCALARS, *loops, str(r.randint(0, 5))])
        if kind == 1:
            return f"({self.expression(depth - 1, loops)} {r.choice('+-*')} {self.expression(depth - 1, loops)})"
        if kind == 4:
            return f"M[{at(loops)}][{at(loops)}]"
        if kind == 5:
            return f"float({r.choice('AB')}[{at(loops)}])"
        if kind == 6:
            return f"({self.expression(depth - 1, loops)} % 7)"
        return f"d.get({at(loops)}, 1)" if kind == 7 else f"{'xs' if kind == 2 else 'ys'}[{at(loops)}]"

    def block(self, depth: int, loops: list[str], level: int, count: int = 0) -> str:
        """Some statements."""
        made = [self.statement(depth, loops, level) for _ in range(count or self.random.randint(1, 3))]
        return "\n".join(made)

    def statement(self, depth: int, loops: list[str], level: int) -> str:
        """One statement, which may be a loop."""
        r, at, e = self.random, self.index, self.expression
        room = level < 3 and depth > 0
        simple = [
            lambda: f"{r.choice(_SCALARS)} = {e(2, loops)}",
            lambda: f"{r.choice(_SCALARS)} = {e(2, loops)}",
            lambda: f"{r.choice(_SCALARS)} += {e(1, loops)}",
            lambda: f"{r.choice(_SCALARS)} = {r.choice(['min', 'max'])}({r.choice(_SCALARS)}, {e(1, loops)})",
            lambda: f"xs[{at(loops)}] = {e(2, loops)}",
            lambda: f"ys[{at(loops)}] += {e(1, loops)}",
            lambda: f"M[{at(loops)}][{at(loops)}] = {e(2, loops)}",
            lambda: f"{r.choice('AB')}[{at(loops)}] = {e(1, loops)}",
            lambda: f"out.append({e(1, loops)})",
            lambda: f"out.append(M[{at(loops)}])",
            lambda: f"s.add({e(1, loops)})",
            lambda: f"d[{r.choice([*_SCALARS, *loops, '1'])} % 5] = {e(1, loops)}",
            lambda: f"d[{at(loops)}] = d.get({at(loops)}, 0) + {e(1, loops)}",
            lambda: f"row = M[{at(loops)}]\nrow[{at(loops)}] = {e(1, loops)}",
            lambda: f"M[{at(loops)}] = M[{at(loops)}]",
            lambda: f"W = A[{r.randint(0, 3)}:{r.randint(6, 10)}]\nW[{r.randint(0, 2)}] = {e(1, loops)}\nA[2] += 1",
        ]
        if not room or r.random() < 0.55:
            return self.leaving(loops) if loops and r.random() < 0.12 else r.choice(simple)()
        return r.choice([
            self.condition, self.loop, self.loop, self.typical, self.typical, self.keyed, self.buffered, self.whiled,
            self.tried,
        ])(depth, loops, level)  # fmt: skip

    def leaving(self, loops: list[str]) -> str:
        """A way out of an iteration, a loop, or the function."""
        how = self.random.choice(["continue", "break", "break", f"return out, {self.expression(1, loops)}"])
        return f"if {self.expression(1, loops)} > {self.random.randint(3, 30)}:\n    {how}"

    def condition(self, depth: int, loops: list[str], level: int) -> str:
        made = f"if {self.expression(1, loops)} > {self.random.randint(0, 9)}:\n"
        made += textwrap.indent(self.block(depth - 1, loops, level, 1), "    ")
        if self.random.random() < 0.4:
            made += "\nelse:\n" + textwrap.indent(self.block(depth - 1, loops, level, 1), "    ")
        return made

    def whiled(self, depth: int, loops: list[str], level: int) -> str:
        v = f"w{level}_{self.random.randrange(100)}"
        body = f"{v} += 1\n" + self.block(depth - 1, loops, level + 1)
        return f"{v} = 0\nwhile {v} < {self.random.randint(1, 3)}:\n" + textwrap.indent(body, "    ")

    def tried(self, depth: int, loops: list[str], level: int) -> str:
        body = textwrap.indent(self.block(depth - 1, loops, level, 2), "    ")
        handler = textwrap.indent(self.block(depth - 1, loops, level, 1), "    ")
        return f"try:\n{body}\nexcept {self.random.choice(['IndexError', '(KeyError, IndexError)'])}:\n{handler}"

    def loop(self, depth: int, loops: list[str], level: int) -> str:
        r, v = self.random, f"i{level}"
        inner = [f"range({loops[-1]})", f"range({loops[-1]} + 1, n)"] if loops and loops[-1].startswith("i") else []
        over = r.choice(
            ["range(n)", "range(1, n)", "range(0, n, 2)", "range(n - 1, -1, -1)", "enumerate(ys)", "M", "len", "zip",
             "list(s)", *inner]
        )  # fmt: skip
        more = [*loops, v]
        if over == "enumerate(ys)":
            head, body = f"for {v}, q{level} in enumerate(ys):", self.block(depth - 1, more, level + 1)
        elif over == "M":
            change = f"r{level}[{self.index(loops)}] = {self.expression(1, loops)}\n"
            head, body = f"for r{level} in M:", change + self.block(depth - 1, loops, level + 1)
        elif over == "zip":
            head, body = (
                f"for {v}, q{level} in zip(xs, M):",
                f"q{level}[1] += {v}\n" + self.block(depth - 1, more, level + 1),
            )
        elif over == "len":
            head, body = f"for {v} in range(len(xs)):", self.block(depth - 1, more, level + 1)
        else:
            head, body = f"for {v} in {over}:", self.block(depth - 1, more, level + 1)
        return head + "\n" + textwrap.indent(body, "    ") + ("\nelse:\n    c = 3" if r.random() < 0.15 else "")

    def typical(self, depth: int, loops: list[str], level: int) -> str:
        """Loops that can often be cut."""
        r, v, e = self.random, f"i{level}", self.expression
        more = [*loops, v]
        body = r.choice([
            f"M[{v}][{self.index(more)}] = {e(1, more)}", f"xs[{v}] = xs[{v}] + {e(1, more)}",
            f"A[{v}] = {e(2, more)}", f"M[{v}][2] += {v}\nout.append(M[{v}][2])", f"a += xs[{v}]",
            f"if xs[{v}] > b:\n    b = xs[{v}]\n    c = {v}", f"ys[{v}] += 1.5\nif ys[{v}] > {r.randint(3, 9)}: break",
            f"d[{v} % 3] = {v}\nxs[{v}] = {v}", f"d[{v}] = {e(1, more)}", f"s.add(xs[{v}])", f"b = max(b, ys[{v}])",
            f"t = []\nt.append(M[{v}])\nt[0][1] = {e(1, more)}", f"t = [{e(1, more)}]\nout.append(t)\nt.append({v})",
            f"if ys[{v}] == {r.randint(0, 9)}: return {v}, M[{v}]", f"c *= xs[{v}] % 3 + 1", f"b = ys[{v}] - b",
            f"M[{v}] = [{e(1, more)}] * 14", f"B[{v}] = A[{v}] * 2\nout.append(A[{v}:{v} + 2])",
            f"M[{v}][{r.randint(0, 3)}] = M[{r.randint(0, 3)}][{v}]", f"out.extend(M[{v}][:2])", f"d[xs[{v}]] = {v}",
            f"for j in range({v}):\n    M[{v}][j] = M[j][{v}] + 1",
            f"for j in range({v}):\n    M[{v}][j] = 1\n    M[j][{v}] = 2",
            f"if xs[{v}] > {r.randint(1, 8)}:\n    a -= xs[{v}]\nelse:\n    a += {e(1, more)}",
            f"if xs[{v}] > {r.randint(0, 5)} and ys[{v}] < b:\n    b = ys[{v}]\n    c = {v}",
            f"s.discard(xs[{v}])\ns.add({e(1, more)})",
        ])  # fmt: skip
        return f"for {v} in range({r.choice(['n', '0, n', '1, n', '14'])}):\n" + textwrap.indent(body, "    ")

    def keyed(self, depth: int, loops: list[str], level: int) -> str:
        """Loops over what names elements, with a name that loops of another kind use too."""
        r, e = self.random, self.expression
        over = r.choice([
            "xs", "ys", "sorted(set(xs))", "[5, 3, 0, 1]", "[2, 4, 2, 0]", "list(d)", "d", "enumerate(xs)", "d.items()",
            "zip(xs, range(14))", "zip([4, 1, 0], M)", "[(3, 1), (0, 2), (3, 2)]", "[(1, 0), (2, 3)]", "M",
        ])  # fmt: skip
        pairs = over.startswith(("enumerate", "d.items", "zip", "[("))
        names = ["k", "q"] if pairs else ["k"]
        more = [*loops, *names[: 1 + (over == "enumerate(xs)")]]
        k = r.choice(names)
        body = r.choice([
            f"d[{k}] = d[{k}] * 2 + 1", f"d[{k}] //= 2", f"d[{k}] = {e(1, more)}", f"ys[{k}] = ys[{k}] * 2 + 1",
            f"if ys[{k}] > 4:\n    ys[{k}] = {e(1, more)}\nelse:\n    out.append(ys[{k}])", f"xs[{k}] = xs[{k}] + 1",
            f"M[{k}][1] = M[{k}][2] + {k}", f"s.discard({k})", f"A[{k}] = B[{k}] * 2", f"A[{k}] = A[{k}] + A[1]",
            f"k[1] = {e(1, loops)}",
            f"row = M[{k}]\nrow[3] = row[2] + 1", f"d[{k}] = [{k}]\nd[{k}].append({e(1, more)})",
        ])  # fmt: skip
        return f"for {', '.join(names)} in {over}:\n" + textwrap.indent(body, "    ")

    def buffered(self, depth: int, loops: list[str], level: int) -> str:
        """Two names that were one object once, and may still be."""
        r, v = self.random, f"i{level}"
        other = r.choice(["ys", "list(ys)", "ys if a > 2 else list(ys)", "M[1]", "list(M[1])", "xs"])
        one = r.choice(["ys", "xs", "M[1]"])
        body = r.choice([
            f"zs[{v}] = us[{v} - 1] + us[{v} + 1]", f"zs[{v}] = us[{v} + 1]\nus[0] = {v}", f"us[{v}] = zs[{v} + 1] + 1",
            f"out.append(us[{v} + 1])\nzs[{v}] = {self.expression(1, [*loops, v])}",
        ])  # fmt: skip
        before = f"us = {one}\nzs = us\nif b > {r.randint(0, 9)}:\n    zs = {other}\n"
        after = r.choice(["", "\nus, zs = zs, us", "\nout.append(zs[2:5])"])
        return before + f"for {v} in range(1, 12):\n" + textwrap.indent(body, "    ") + after


def program(seed: int) -> str:
    """The program of a seed."""
    return Writer(seed).program()


def arguments(seed: int, aliasing: int) -> tuple[Any, ...]:
    """Its arguments, aliased in one of the ways."""
    r = random.Random(seed)
    n = r.randint(3, 6)
    rows = [[r.randint(0, 9) for _ in range(_SIZE)] for _ in range(_SIZE)]
    xs = [r.randint(0, 9) for _ in range(_SIZE)]
    ys: list[Any] = [float(r.randint(0, 9)) for _ in range(_SIZE)]
    a = np.arange(float(_SIZE))
    b = np.arange(float(_SIZE)) * 2
    if aliasing == 1:
        rows[3], rows[1], rows[9] = rows[2], rows[0], rows[8]
    elif aliasing == 2:
        ys = xs
    elif aliasing == 3:
        rows[0] = xs
    elif aliasing == 4:
        memory = np.arange(float(_SIZE + 2))
        a, b = memory[:_SIZE], memory[2:]
    return xs, ys, rows, a, b, n
