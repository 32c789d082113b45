"""Hazards, part 3 of 5."""

# ruff: noqa: PLC3002
from __future__ import annotations

import numpy as np
from hazards import hazard

hazard(
    "iter_mutated",
    """
    def f(xs):
        for x in xs:
            if x < 50:
                xs.append(x * 10)
        return xs
    """,
    lambda: ([1, 2, 3],),
)
hazard(
    "row_view_escape",
    """
    import numpy as np

    def f(A):
        out = []
        for i in range(A.shape[0]):
            out.append(A[i])
        out[0][0] = 99.0
        return (A, out)
    """,
    lambda: (np.arange(6.0).reshape(3, 2),),
)
hazard(
    "slice_store",
    """
    def f(A, n):
        for i in range(n):
            A[i:i + 1] = [A[i], A[i]]
        return A
    """,
    lambda: ([1, 2, 3], 3),
)
hazard(
    "bool_int_sum",
    """
    def f(xs):
        s = True
        for x in xs:
            s += x
        return s
    """,
    lambda: ([1, 2, 3, 4],),
)
hazard(
    "mixed_types_sum",
    """
    def f(xs):
        s = 0
        for x in xs:
            s += x
        return s
    """,
    lambda: ([1, 2.5, 3, 1e16, 1, 1],),
)
hazard(
    "type_change_alias",
    """
    def f(xs, M):
        M[0][1] = 0.5
        s = 0
        for x in xs:
            s += x
        return s
    """,
    lambda: (lambda x: (x, [x, [1]]))([1, 2, 3, 4]),
)
hazard(
    "view_written",
    """
    def f(A, n):
        W = A[1:]
        for i in range(n):
            W[i] = A[i] + 1
        return A
    """,
    lambda: (np.arange(9.0), 7),
)
hazard(
    "str_concat",
    """
    def f(xs):
        s = ''
        for x in xs:
            s += str(x)
        return s
    """,
    lambda: ([1, 2, 3, 4],),
)
hazard(
    "row_rebound",
    """
    def f(M, n):
        for i in range(1, n):
            M[i] = M[0]
            row = M[i]
            row[0] = row[0] + i
        return M
    """,
    lambda: ([[k] for k in range(6)], 6),
)
hazard(
    "held_by_fresh",
    """
    def f(M, n):
        for i in range(n):
            x = []
            x.append(M[0])
            x[0][0] += i
        return M
    """,
    lambda: ([[5], [6]], 6),
)
hazard(
    "held_by_callee",
    """
    def put(box, row):
        box.append(row)

    def f(M, n):
        for i in range(n):
            box = []
            put(box, M[0])
            box[0][0] += i
        return M
    """,
    lambda: ([[5], [6]], 6),
)
hazard(
    "defaultdict_read",
    """
    from collections import defaultdict

    def f(d, n):
        s = 0
        for i in range(n):
            s += d[i % 3]
        return (s, d)
    """,
    lambda: (__import__("collections").defaultdict(int, {1: 5}), 6),
)
hazard(
    "set_order",
    """
    def f(s, n):
        out = []
        for i in range(n):
            out.append([x for x in s])
        return out
    """,
    lambda: ({900, 8, 17, 3, 64, 1024, 33}, 4),
)
hazard(
    "set_made_of_text",
    """
    def f(words, n):
        out = []
        for i in range(n):
            seen = set(words)
            out.append(list(seen))
        return out
    """,
    lambda: (["b", "a", "xyz", "q"], 4),
)
hazard(
    "iterator_shared",
    """
    def f(it, n):
        out = []
        for i in range(n):
            for x in it:
                out.append(x + i)
                break
        return out
    """,
    lambda: (iter([5, 6, 7, 8]), 4),
)
hazard(
    "iterator_used_up_early",
    """
    def f(it):
        for x in it:
            if x > 5:
                break
        return list(it)
    """,
    lambda: (iter([4, 5, 6, 7, 8]),),
)
hazard(
    "generator_sees_the_body",
    """
    def f(n):
        out = [0]
        steps = (out[-1] for _ in range(n))
        for x in steps:
            out.append(x + 1)
        return out
    """,
    lambda: (6,),
)
hazard(
    "identity_of_numbers",
    """
    def f(xs, y):
        out = []
        for x in xs:
            out.append(x is y)
        return out
    """,
    lambda: (lambda v: ([v, 1e300, v], v))(1e299 * 10),
)
hazard(
    "caught_errors",
    """
    def f(xs, ys):
        out = []
        for i in range(len(xs)):
            try:
                out.append(ys[xs[i]])
            except IndexError:
                out.append(-1)
        return out
    """,
    lambda: ([0, 9, 1, 7, 2], [5, 6, 7]),
    "reduction",
)
hazard(
    "found_early",
    """
    def f(xs, rows):
        for i in range(len(xs)):
            rows[i][0] = xs[i]
            if xs[i] > 3:
                return rows[i]
        else:
            return None
    """,
    lambda: ([1, 2, 3, 9, 1, 5, 1, 1, 1], [[0] for _ in range(9)]),
    "doall",
)
hazard(
    "broken_off_with_sums",
    """
    def f(xs):
        total = 0
        out = []
        for x in xs:
            total += x
            out.append(total * 0 + x)
            if x > 8:
                break
        else:
            total = -1
        return (total, out, x)
    """,
    lambda: ([1, 2, 3, 9, 1, 5],),
)
hazard(
    "broken_off_last_value",
    """
    def f(xs):
        k = None
        t = 0.5
        for x in xs:
            t += x
            if x % 2:
                k = x
            if x > 100:
                break
        return (k, t, x)
    """,
    lambda: ([2, 4, 7, 6, 8, 9, 200, 3, 5],),
    "reduction",
)
hazard(
    "raised_after_the_break",
    """
    def f(xs):
        for i in range(len(xs)):
            if 10 // xs[i] > 5:
                break
        return i
    """,
    lambda: ([5, 5, 5, 1, 0, 0, 0, 0, 0],),
    "doall",
)
