"""Hazards, part 1 of 5."""

# ruff: noqa: PLC3002
from __future__ import annotations

import numpy as np
from hazards import hazard

hazard(
    "neg_wrap_list",
    """
    def f(A, n):
        for i in range(-2, n):
            A[i] = A[i] * 2 + i
    """,
    lambda: ([1, 2, 3, 4, 5], 5),
)
hazard(
    "neg_wrap_minus1",
    """
    def f(A, n):
        for i in range(n):
            A[i - 1] = A[i - 1] * 3 + i
        return A
    """,
    lambda: ([1, 2, 3, 4, 5], 5),
)
hazard(
    "neg_wrap_param",
    """
    def f(A, n, k):
        for i in range(n):
            A[i + k] = A[i + k] * 3 + i
        return A
    """,
    lambda: ([1, 2, 3, 4, 5], 6, -2),
)
hazard(
    "aliased_rows",
    """
    def f(M, n):
        for i in range(n):
            M[i][0] = M[i][0] * 2 + i
        return M
    """,
    lambda: ([[1, 2]] * 4, 4),
)
hazard(
    "aliased_params",
    """
    def f(A, B, n):
        for i in range(1, n):
            A[i] = B[i - 1] + 1
    """,
    lambda: (lambda x: (x, x, 6))([5, 1, 0, 2, 9, 4]),
)
hazard(
    "aliased_views",
    """
    def f(A, B, n):
        for i in range(n):
            A[i] = B[i] + 1
    """,
    lambda: (lambda x: (x[1:], x[:-1], 6))(np.arange(8.0)),
)
hazard(
    "break",
    """
    def f(xs):
        ys = [0] * len(xs)
        for i in range(len(xs)):
            if xs[i] > 3:
                break
            ys[i] = xs[i]
        return (ys, i)
    """,
    lambda: ([1, 2, 3, 9, 1, 1, 1, 2],),
)
hazard(
    "return",
    """
    def f(xs):
        for i in range(len(xs)):
            if xs[i] > 3:
                return i
        return -1
    """,
    lambda: ([1, 2, 3, 9, 1, 5],),
)
hazard(
    "argmax_tie",
    """
    def f(xs):
        b = -1
        k = -1
        for i, x in enumerate(xs):
            if x > b:
                b = x
                k = i
        return (b, k)
    """,
    lambda: ([3, 9, 1, 9, 2, 9],),
)
hazard(
    "argmax_ge",
    """
    def f(xs):
        b = -1
        k = -1
        for i, x in enumerate(xs):
            if x >= b:
                b = x
                k = i
        return (b, k)
    """,
    lambda: ([3, 9, 1, 9, 2, 9],),
)
hazard(
    "nan_min",
    """
    def f(xs):
        m = 5.0
        for x in xs:
            m = min(m, x)
        return m
    """,
    lambda: ([3.0, float("nan"), 1.0, 2.0],),
)
hazard(
    "float_sum_order",
    """
    def f(xs):
        s = 0.1
        for x in xs:
            s += x
        return s
    """,
    lambda: ([1e16, 1.0, -1e16, 1.0, 0.3],),
)
hazard(
    "sum_cond_start",
    """
    def f(a, cond):
        s = 2
        for i in range(len(a)):
            if cond[i]:
                s += 1
        return s
    """,
    lambda: ([1] * 9, [True, False] * 5),
)
hazard(
    "reduction_in_cond",
    """
    def f(n):
        c = 0
        for i in range(n):
            c += 1
            if i > 4:
                c += 1
        return c
    """,
    lambda: (10,),
)
hazard(
    "two_paths",
    """
    def f(flag):
        r = 0
        if flag:
            for i in range(100):
                r += 1
        else:
            for i in range(100):
                r -= 3
        return r
    """,
    lambda: (False,),
)
hazard(
    "two_loops_merge",
    """
    def f(n):
        res = [0] * n
        cnt = [0] * n
        for i in range(n):
            for j in range(i):
                cnt[i] += 1
        for i in range(n):
            if i == 0:
                continue
            res[i] = cnt[i] - cnt[i - 1]
        return res
    """,
    lambda: (15,),
)
hazard(
    "scatter_then_scan",
    """
    def f(index, values, m):
        arr = [99] * (m + 1)
        for i in range(len(index)):
            arr[index[i]] = values[i]
        mx = max(values)
        for i in range(len(arr)):
            if arr[i] == 99:
                arr[i] = mx + 1
                mx += 1
        return arr
    """,
    lambda: ([9, 11, 12, 15, 19], [0, 1, 2, 3, 4], 20),
)
hazard(
    "same_element",
    """
    import numpy as np

    def f(x):
        n = x.shape[0]
        y = np.zeros_like(x)
        for i in range(n):
            for j in range(n):
                if i == j:
                    continue
                y[0, 1] += x[i, j]
        return y
    """,
    lambda: (np.random.RandomState(1).normal(size=(9, 9)),),
)
hazard(
    "prange_last",
    """
    def f(x, y):
        k = -5
        for j in range(y):
            k = j
        return k
    """,
    lambda: (10, 7),
)
hazard(
    "cond_lastpriv",
    """
    def f(xs):
        k = -5
        for x in xs:
            if x % 3 == 0:
                k = x
        return k
    """,
    lambda: ([1, 3, 4, 6, 7, 8],),
)
hazard(
    "carried_through_while",
    """
    def f(xs):
        t = 0
        out = []
        for x in xs:
            while t < x:
                t += 2
            out.append(t)
        return out
    """,
    lambda: ([1, 5, 2, 9, 3],),
)
hazard(
    "mod_index",
    """
    def f(A, n):
        for i in range(n):
            A[i % 3] = A[i % 3] * 2 + i
        return A
    """,
    lambda: ([1, 2, 3], 9),
)
hazard(
    "indirect",
    """
    def f(A, p):
        for i in range(len(p)):
            A[p[i]] = A[p[i]] * 2 + i
        return A
    """,
    lambda: ([1, 2, 3, 4], [0, 1, 1, 0, 2]),
)
