"""Hazards, part 2 of 5."""

from __future__ import annotations

import numpy as np
from hazards import hazard

hazard(
    "append_read",
    """
    def f(n):
        out = [1]
        for i in range(n):
            out.append(out[-1] + i)
        return out
    """,
    lambda: (8,),
)
hazard(
    "append_len",
    """
    def f(n):
        out = []
        for i in range(n):
            out.append(len(out))
        return out
    """,
    lambda: (8,),
)
hazard(
    "append_alias",
    """
    def f(n, xs):
        out = xs
        for i in range(n):
            out.append(xs[0] + len(xs))
        return out
    """,
    lambda: (8, [1]),
)
hazard(
    "dict_order",
    """
    def f(xs):
        d = {}
        for i in range(len(xs)):
            d[xs[i] % 4] = i
        return d
    """,
    lambda: ([5, 3, 9, 1, 4, 7, 2],),
)
hazard(
    "hist",
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
    "rng",
    """
    import random

    def f(n):
        random.seed(3)
        out = []
        for i in range(n):
            out.append(random.random())
        return out
    """,
    lambda: (6,),
    "refused",
)
hazard(
    "io",
    """
    def f(n):
        for i in range(n):
            print(i)
    """,
    lambda: (3,),
    "refused",
)
hazard(
    "globalmut",
    """
    G = [0]

    def g(x):
        G[0] += x
        return G[0]

    def f(n):
        out = []
        for i in range(n):
            out.append(g(i))
        G[0] = 0
        return out
    """,
    lambda: (6,),
)
hazard(
    "callee_mut",
    """
    def g(A, i):
        A[0] = A[0] + i

    def f(A, n):
        for i in range(n):
            g(A, i)
        return A
    """,
    lambda: ([0], 6),
)
hazard(
    "callee_mut_row",
    """
    def g(r, i):
        r[0] = r[0] + i

    def f(M, n):
        for i in range(n):
            g(M[i], i)
        return M
    """,
    lambda: ([[0], [1], [2], [3]], 4),
)
hazard(
    "callee_mut_row_aliased",
    """
    def g(r, i):
        r[0] = r[0] + i

    def f(M, n):
        for i in range(n):
            g(M[i], i)
        return M
    """,
    lambda: ([[0]] * 4, 4),
)
hazard(
    "exception_mid",
    """
    def f(xs, ys):
        for i in range(len(xs)):
            ys[i] = 10 // xs[i]
    """,
    lambda: ([5, 2, 0, 1, 0], [0] * 5),
)
hazard(
    "default_arg",
    """
    def g(x, acc=[]):
        acc.append(x)
        return len(acc)

    def f(n):
        out = []
        for i in range(n):
            out.append(g(i))
        return out
    """,
    lambda: (5,),
)
hazard(
    "inplace_array_acc",
    """
    import numpy as np

    def f(A):
        s = np.zeros(3)
        t = s
        for i in range(A.shape[0]):
            s += A[i]
        return (s, t)
    """,
    lambda: (np.random.RandomState(0).rand(7, 3) * 10000000000.0,),
)
hazard(
    "strided_gcd",
    """
    def f(A, n):
        for i in range(n):
            A[2 * i] = A[2 * i + 1] + 1
        return A
    """,
    lambda: (list(range(12)), 6),
    "doall",
)
hazard(
    "overlap_stride",
    """
    def f(A, n):
        for i in range(n):
            A[2 * i] = A[i] + 1
        return A
    """,
    lambda: (list(range(12)), 6),
)
hazard(
    "block",
    """
    def f(A, n, b):
        for i in range(0, n, b):
            for j in range(i, i + b):
                A[j] = A[j] * 2
        return A
    """,
    lambda: (list(range(12)), 12, 3),
)
hazard(
    "block_overlap",
    """
    def f(A, n, b):
        for i in range(0, n, b):
            for j in range(i, i + b + 1):
                A[j] = A[j] * 2 + i
        return A
    """,
    lambda: (list(range(13)), 12, 3),
)
hazard(
    "flat2d",
    """
    def f(A, n, m):
        for i in range(n):
            for j in range(m):
                A[i * m + j] = A[i * m + j] + i * j
        return A
    """,
    lambda: (list(range(12)), 3, 4),
    "doall",
)
hazard(
    "flat2d_overlap",
    """
    def f(A, n, m):
        for i in range(n):
            for j in range(m + 1):
                A[i * m + j] = A[i * m + j] * 2 + i
        return A
    """,
    lambda: (list(range(13)), 3, 4),
)
hazard(
    "flat2d_negm",
    """
    def f(A, n, m):
        for i in range(n):
            for j in range(3):
                A[i * m + j] = A[i * m + j] * 2 + i
        return A
    """,
    lambda: (list(range(13)), 4, 0),
)
hazard(
    "set_add",
    """
    def f(xs):
        s = set()
        for x in xs:
            s.add(x * 2)
        return s
    """,
    lambda: ([5, 3, 5, 1],),
)
hazard(
    "loopvar_reassigned",
    """
    def f(A, n):
        for i in range(n):
            A[i] = i
            i = 0
            A[i] = A[i] + 1
        return A
    """,
    lambda: ([0] * 6, 6),
)
