"""Hazards, part 4 of 5."""

# ruff: noqa: PLC3002
from __future__ import annotations

import numpy as np
from hazards import hazard

hazard(
    "true_is_no_sum",
    """
    def f(xs):
        s = True
        for x in xs:
            if x > 90:
                s += x
        return s
    """,
    lambda: ([1, 2, 3, 4],),
)
hazard(
    "concatenated_before",
    """
    def f(xs):
        s = ''
        for x in xs:
            s = str(x) + s
        return s
    """,
    lambda: ([1, 2, 3, 4],),
    "reduction",
)
hazard(
    "subtracted",
    """
    def f(xs):
        s = 1.0
        for x in xs:
            s -= x
        return s
    """,
    lambda: ([0.1, 1e16, 0.3, -1e16],),
    "reduction",
)
hazard(
    "subtracted_integers",
    """
    def f(xs):
        s = 7
        for x in xs:
            s -= x
        return s
    """,
    lambda: ([1, 2, 3, 4],),
    "reduction",
)
hazard(
    "extended_then_cleared",
    """
    def f(xs):
        out = []
        for x in xs:
            part = [x]
            part.append(x * 2)
            out.extend(part)
            part.clear()
        return out
    """,
    lambda: ([1, 2, 3, 4],),
    "reduction",
)
hazard(
    "added_row_then_changed",
    """
    def f(M, n):
        s = []
        for i in range(n):
            row = [i]
            s += row
            row[0] = 99
        return s
    """,
    lambda: ([[1], [2]], 5),
)
hazard(
    "accumulator_seen_by_another_name",
    """
    import numpy as np

    def f(A):
        s = np.zeros(3)
        t = s
        out = []
        for i in range(A.shape[0]):
            s += A[i]
            out.append(float(t[0]))
        return (s, out)
    """,
    lambda: (np.arange(12.0).reshape(4, 3),),
)
hazard(
    "summed_rows_are_written",
    """
    import numpy as np

    def f(A):
        s = np.zeros(3)
        for i in range(A.shape[0]):
            s += A[i]
            A[i] = 1.0
        return (s, A)
    """,
    lambda: (np.arange(12.0).reshape(4, 3),),
)
hazard(
    "keys_taken_out_and_back",
    """
    def f(rows):
        for i in range(len(rows)):
            d = rows[i]
            v = d.pop('a')
            d['a'] = v + i
        return rows
    """,
    lambda: ([{"a": 1, "b": 2} for _ in range(5)],),
)
hazard(
    "warning_each_time",
    """
    import numpy as np

    def f(xs):
        out = []
        for i in range(len(xs)):
            out.append(np.sqrt(xs[i]))
        return out
    """,
    lambda: ([4.0, 9.0, 16.0, 25.0],),
)
hazard(
    "float_keys_collide",
    """
    def f(d, k, n):
        for i in range(n):
            d[k + i] = i
        return d
    """,
    lambda: ({}, 1e17, 6),
)
hazard(
    "length_of_a_growing_dict",
    """
    def f(d, n):
        for i in range(n):
            d[i] = len(d)
        return d
    """,
    lambda: ({}, 6),
)
hazard(
    "zip_of_what_is_written",
    """
    def f(xs, ys):
        for x, y in zip(xs, ys):
            ys[x] = y + 1
        return ys
    """,
    lambda: ([1, 2, 3, 0], [5, 6, 7, 8]),
)
hazard(
    "row_of_rows_shared",
    """
    def f(T, n):
        for i in range(n):
            for j in range(2):
                T[i][j][0] += i
        return T
    """,
    lambda: (lambda r: ([[r, [2]], [[3], r], [[5], [6]]], 3))([1]),
)
hazard(
    "symmetric",
    """
    def f(c, n):
        for i in range(n):
            for j in range(i):
                c[i][j] = i + j
                c[j][i] = i + j
        return c
    """,
    lambda: ([[0] * 6 for _ in range(6)], 6),
)
hazard(
    "symmetric_with_diagonal_carried",
    """
    def f(c, n):
        for i in range(n):
            for j in range(i + 1):
                c[i][j] = i + j
                c[j][i] += c[i][j] + 1
                c[0][0] += 1
        return c
    """,
    lambda: ([[0] * 6 for _ in range(6)], 6),
)
hazard(
    "module_variable_read",
    """
    LIMIT = [3, 4]

    def cap(x):
        return min(x, LIMIT[0])

    def f(xs):
        out = []
        for x in xs:
            out.append(cap(x) + LIMIT[1])
        return out
    """,
    lambda: ([1, 5, 2, 9],),
    "reduction",
)
hazard(
    "views_in_results",
    """
    import numpy as np

    def f(A):
        out = []
        last = None
        for i in range(A.shape[0]):
            A[i] = A[i] * 2
            out.append(A[i])
            last = A[i, 1:]
        out[0][0] = 99.0
        return (A, out, last)
    """,
    lambda: (np.arange(12.0).reshape(4, 3),),
)
hazard(
    "attribute_of_the_argument",
    """
    def f(p, xs):
        out = []
        for x in xs:
            out.append(x * p.real)
        return out
    """,
    lambda: (3.0, [1, 2, 3]),
)
hazard(
    "inner_loop_breaks_are_its_own",
    """
    def f(M):
        out = []
        for row in M:
            for x in row:
                if x > 2:
                    break
            else:
                x = -1
            out.append(x)
        return out
    """,
    lambda: ([[1, 3, 5], [1, 1], [9], [2, 2, 7]],),
)
hazard(
    "counts_by_get",
    """
    def f(xs):
        h = {}
        for x in xs:
            h[x] = h.get(x, 0) + 1
        return h
    """,
    lambda: ([5, 3, 5, 1, 3, 7],),
)
hazard(
    "distinct_positions",
    """
    def f(A, p):
        for i in range(len(p)):
            A[p[i]] = A[p[i]] * 2 + i
        return A
    """,
    lambda: ([1, 2, 3, 4], [3, 0, 2, 1]),
)
