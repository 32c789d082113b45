"""Programs that stop at loop heads and go on: each was once a way to go wrong."""

from __future__ import annotations

from typing import Any

#: programs that other people's code taught us, each with what may be refused in it
CASES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "calls and recursion": (
        """
def depth(n, acc):
    for i in range(n + 1):
        acc.append((n, i))
    if n:
        r = depth(n - 1, acc)
        for i in acc[:2]:
            acc.append(r)
        return r + 1
    return 0
def main(n):
    acc = []
    x = depth(n, acc)
    y, z = depth(n - 1, acc), 5
    return x, y, z, acc
""",
        (3,),
    ),
    "a call among the arguments of the same function": (
        """
def f(x):
    s = 0
    for i in range(x):
        s += i
    return s
def main(n):
    out = [0, 0]
    for k in range(n):
        h = f
        a = f(f(3))
        out[k % 2] = f(h(k))
        b, out[1] = f(k), a
        out.append(f(k) + 1)
        c = f([f(2) for _ in range(2)][1])
        f(k)
        d = f(*map(f, [3]))
    return out, a, b, c, d
""",
        (3,),
    ),
    "a generator between the calls": (
        """
def divisors(n):
    c = 0
    for i in range(1, n + 1):
        if n % i == 0:
            c += 1
    return c
def main(least):
    return next(i for i in range(1, 500) if divisors(i) >= least)
""",
        (6,),
    ),
    "ranges whose loop variables are stale, bound anew, huge, empty, shared or deleted": (
        """
def inner(a, b, out):
    for i in range(a, b, -1 if a > b else 1):
        out.append(i)
    return len(out)
def main(n):
    out = []
    for i in range(n):
        for j in range(n):
            for k in range(i, j):
                out.append((i, j, k))
            if j == 2:
                continue
        for j in range(5, 5):
            out.append("never")
        for k in range(1 << 80, (1 << 80) + 9 * n, 9):
            out.append(k)
        for i in range(3, 0, -1):
            out.append(i)
        for j in range(12):
            j += i
            out.append(j)
        for k in range(n):
            for k in range(k):
                out.append(k)
        for j in range(i, i + 3):
            if j % 2:
                for q in range(11):
                    if q == 4:
                        break
                else:
                    out.append("whole")
            r = inner(j, -n, out)
        else:
            for j in range(i):
                out.append((r, j))
        for j in range(n):
            out.append(j)
            del j
        for j in range(n):
            out += [j for j in range(3)]
            (lambda: [j := 7 for _ in "x"])
        for k in range(n):
            if k == 2:
                break
            out.append((k, i))
    return out, i, k
""",
        (4,),
    ),
    "break, continue, else, try, imports, iterators": (
        """
def main(n):
    import math
    out, d, it = [], {}, iter(range(100))
    for i in range(n):
        if i % 3 == 0:
            continue
        for j in range(i):
            if j == 3:
                break
            d[i, j] = math.sqrt(i * j)
            k = 0
            while k < 3:
                k += 1
                if k == 2 and j == 2:
                    break
                out.append((i, j, k, next(it, -1)))
            else:
                out.append("else")
        else:
            out.append("whole %d" % i)
        try:
            for q in range(2):
                out.append(1 // (q - 1 + i % 2))
        except ZeroDivisionError as e:
            out.append(str(e))
    else:
        for z in range(2):
            out.append(z)
    for key, v in d.items():
        d[key] = v + 1
    for a, b in zip(it, it):
        out.append((a, b))
    return out, d
""",
        (5,),
    ),
    "state of the module, of defaults and of random numbers": (
        """
import random
CACHE, COUNT = {}, 0
def bump(k, acc=[]):
    global COUNT
    COUNT += 1
    acc.append(k)
    CACHE[k] = len(acc)
def main(n):
    random.seed(4)
    out = []
    for i in range(n):
        bump(i)
        out.append(random.random())
        while random.random() < 0.5:
            out.append(random.gauss(0, 1))
    return out, dict(CACHE), COUNT
""",
        (6,),
    ),
    "aliases of arrays and lists, and closures that are dead": (
        """
import numpy as np
def main(n):
    A = np.zeros((n, n))
    row, col, L = A[1], A[:, 1], [[0]] * 3
    first = (lambda x: x + 1)(0)
    for i in range(n):
        for j in range(n):
            A[i, j] += i + j
            row[j] += first
            L[0].append(j)
            col[i] = row[j] * 0.1
    return A, row, col, L
""",
        (3,),
    ),
    "a test that loops on its own line": (
        """
def main(n):
    q, out = list(range(n)), []
    while [out.append(x) for x in q[:2]] and q:
        q.pop()
        for i in range(len(q)):
            out.append(-i)
    return out
""",
        (4,),
    ),
    "sets that are iterated": (
        """
def main(n):
    out, t = [], set()
    for x in {i * 7919 % 1013 for i in range(n)}:
        out.append(x)
        t.add(x % 57)
        out.append(list(t))
    return out, t
""",
        (12,),
    ),
    "ranges whose arguments stay as they are, in loops in loops": (
        """
def inner(k, n, out):
    for i in range(k, n * 2 - 1):
        out.append(i)
    return n
def main(n):
    out, size, t = [], 2, 0
    while size <= n:
        half = size // 2
        for k in range(half):
            for j in range(k, n, size):
                for i in range(j + 2, k - 2, -1):
                    t = (t * 31 + i * j + k) % 65521
                out.append(t)
                j2 = inner(k, half, out)
            else:
                out.append(k)
        size *= 2
    return out, t, j2
""",
        (9,),
    ),
    "ranges whose arguments change while they are run through": (
        """
import numpy as np
def main(n):
    out, m, step, flag, wide = [], n, 1, True, np.int64(n + 8)
    for turn in range(7):
        for k in range(m):
            m -= 1
            for i in range(k, wide - 6, step):
                out.append((turn, k, i))
                for x in range(flag * 9):
                    out.append(x)
            step = 3 - step
        for k in range(n, 0, -1):
            for k2 in range(k, n + k):
                out.append(k2)
                if k2 > k + 2:
                    break
            n, last = n - 1, n
        n = last = 4
        for k in range(turn):
            del last
            last = k
        m = turn
    return out, last, str(type(out[-1]))
""",
        (4,),
    ),
}
