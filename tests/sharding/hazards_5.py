"""Hazards, part 5 of 5."""

# ruff: noqa: PLC3002
from __future__ import annotations

import numpy as np
from hazards import hazard

hazard(
    "positions_from_the_end",
    """
    def f(A, p):
        for i in range(len(p)):
            A[p[i]] = A[p[i]] * 2 + i
        return A
    """,
    lambda: ([1, 2, 3, 4], [3, -1, 2, 1]),
)

hazard(
    "reads_wrapped_around",
    """
    def f(A, k, n):
        for i in range(n):
            A[2 * i + k] = A[2 * i + 1 + k] + 1
        return A
    """,
    lambda: (list(range(9)), -2, 5),
)

hazard(
    "aliased_rows_are_read",
    """
    def f(M, n):
        for i in range(n):
            M[i][i] = M[i][0] + 1
        return M
    """,
    lambda: ([[1, 2, 3, 4, 5, 6]] * 6, 6),
)
hazard(
    "float_keys_collide_and_are_read",
    """
    def f(d, k, n):
        out = []
        for i in range(n):
            if i < 1:
                d[k + i] = 7.5
            else:
                out.append(d[k + i])
        return d, out
    """,
    lambda: ({1e17: 1.0}, np.float64(1e17), 6),
)

hazard(
    "grouped_and_counted",
    """
    def f(xs, h):
        groups = {}
        seen = {}
        last = {}
        for x in xs:
            k = x % 4
            if k not in groups:
                groups[k] = []
            groups[k].append([x])
            if k in seen:
                seen[k] += 1
            else:
                seen[k] = 1
            h[k] = h.get(k, 0.5) + x
            last.setdefault(k, []).append(x)
        return groups, seen, h, last
    """,
    lambda: ([5, 3, 9, 1, 4, 7, 2, 8], {3: 0.1, 9: 1}),
    "reduction",
)
hazard(
    "grouped_into_what_is_read",
    """
    def f(xs, M):
        for x in xs:
            M[x % 2].append(len(M[0]))
        return M
    """,
    lambda: ([5, 3, 9, 1, 4], [[1], [2]]),
)
hazard(
    "counting_a_missing_key_fails_half_way",
    """
    def f(xs, h):
        for x in xs:
            h[x] += 1
        return h
    """,
    lambda: ([1, 2, 1, 3, 1, 2], {1: 0, 2: 0}),
)
hazard(
    "one_list_in_two_groups",
    """
    def f(xs, M):
        for x in xs:
            M[x % 2].append(x)
        return M
    """,
    lambda: ([5, 3, 9, 2, 4], (lambda r: [r, r])([0])),
    "reduction",
)

hazard(
    "rows_put_elsewhere_are_read",
    """
    def f(M, n):
        for i in range(1, n):
            M[i] = M[0]
            row = M[i]
            row[i] = row[i - 1] + 1
        return M
    """,
    lambda: ([[k] * 6 for k in range(6)], 6),
)

hazard(
    "rows_of_the_iterable_are_written",
    """
    def f(M, c):
        for row in M:
            row[1] = c
        return M
    """,
    lambda: ([[k, k] for k in range(6)], 9),
    "doall",
)

hazard(
    "module_variable_written",
    """
    TABLE = [0] * 6

    def f(n):
        for i in range(n):
            TABLE[i] = i * 2
        out = list(TABLE)
        for i in range(n):
            TABLE[i] = 0
        return out
    """,
    lambda: (6,),
    "refused",
)

hazard(
    "a_whole_number_repeats_what_it_is_multiplied_with",
    """
    def f(rows, n):
        out = []
        for i in range(n):
            t = 1
            t = t * rows[i]
            t[0][0] = t[0][0] + i
            out.append(t[0])
        return out, rows
    """,
    lambda: ([*([[1], [2]] for _ in range(6)), 5, "x"], 6),
)

hazard(
    "sums_of_arrays_are_one_object",
    """
    def f(rows, n):
        out = []
        for i in range(n):
            t = 0
            for k in range(2):
                t += rows[k]
                out.append(t)
            t += i
        return out, rows
    """,
    lambda: ([np.arange(3.0), np.arange(3.0) + 1, "x"], 6),
)

hazard(
    "sums_that_begin_with_an_array_of_others",
    """
    def f(rows, n):
        out = []
        for i in range(n):
            t = 0
            if i % 2:
                t = rows[0]
            t += 1
            out.append(t)
        return out, rows
    """,
    lambda: ([np.arange(3.0), 7], 6),
)

hazard(
    "sums_that_begin_with_what_cannot_be_added",
    """
    def f(rows, n):
        out = []
        for i in range(n):
            t = 0
            for x in rows[i]:
                t += x
            out.append(t)
        return out, rows
    """,
    lambda: ([[1, 2], [3.5], [], [np.int64(4)], [1, [2]], [5]], 6),
)
