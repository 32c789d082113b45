"""Well-known loops, written here, as source: what capsules are measured on. Each has ``main`` and its arguments."""

from __future__ import annotations

from typing import Any

# fmt: off
KERNELS: dict[str, tuple[str, tuple[Any, ...]]] = {}


def _add(name: str, source: str, *args: Any) -> None:
    KERNELS[name] = (source, args)


_add("nbody", """
def main(n):
    bodies = [[1.0 * i, 0.5 * i, -0.3 * i, 0.01, 0.02 * i, 0.03, 1.0 / (i + 1)] for i in range(5)]
    for step in range(n):
        for i in range(5):
            a = bodies[i]
            for j in range(i + 1, 5):
                b = bodies[j]
                dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
                m = 0.001 / ((dx * dx + dy * dy + dz * dz) ** 1.5)
                for k, d in ((3, dx), (4, dy), (5, dz)):
                    a[k] -= d * b[6] * m
                    b[k] += d * a[6] * m
        for a in bodies:
            for k in range(3):
                a[k] += 0.001 * a[k + 3]
    return bodies
""", 900)
_add("fannkuch", """
def main(n):
    count, perm1, r, most, checksum, turn = list(range(1, n + 1)), list(range(n)), n, 0, 0, 0
    while True:
        while r != 1:
            count[r - 1] = r
            r -= 1
        perm, flips, k = perm1[:], 0, perm1[0]
        while k:
            perm[:k + 1] = perm[k::-1]
            flips += 1
            k = perm[0]
        most = max(most, flips)
        checksum += flips if turn % 2 == 0 else -flips
        turn += 1
        while r != n:
            perm1.insert(r, perm1.pop(0))
            count[r] -= 1
            if count[r] > 0:
                break
            r += 1
        else:
            return checksum, most
""", 7)
_add("fft", """
import math
def main(n):
    re, im = [math.sin(i * 0.1) for i in range(n)], [0.0] * n
    j = 0
    for i in range(1, n):
        bit = n >> 1
        while j & bit:
            j ^= bit
            bit >>= 1
        j |= bit
        if i < j:
            re[i], re[j] = re[j], re[i]
    size = 2
    while size <= n:
        half, angle = size // 2, -2 * math.pi / size
        for k in range(half):
            c, s = math.cos(angle * k), math.sin(angle * k)
            for i in range(k, n, size):
                x, y = re[i + half], im[i + half]
                tr, ti = c * x - s * y, c * y + s * x
                re[i + half], im[i + half] = re[i] - tr, im[i] - ti
                re[i], im[i] = re[i] + tr, im[i] + ti
        size *= 2
    return re, im
""", 8192)
_add("sparse", """
def main(n, turns):
    start = [i * 5 for i in range(n + 1)]
    col = [(i * 7919) % n for i in range(n * 5)]
    val, x, y = [0.5 + i % 3 for i in range(n * 5)], [1.0 / (i + 1) for i in range(n)], [0.0] * n
    for turn in range(turns):
        for row in range(n):
            total = 0.0
            for i in range(start[row], start[row + 1]):
                total += x[col[i]] * val[i]
            y[row] = total
    return y
""", 1000, 20)
_add("gemm", """
def main(n):
    A = [[(i * j + 1) % n / n for j in range(n)] for i in range(n)]
    B = [[(i - j) % n / n for j in range(n)] for i in range(n)]
    C = [[0.0] * n for i in range(n)]
    for i in range(n):
        for k in range(n):
            a = A[i][k]
            for j in range(n):
                C[i][j] += a * B[k][j]
    return C
""", 64)
_add("lu", """
def main(n):
    A = [[1.0 / (1 + abs(i - j)) + (n if i == j else 0) for j in range(n)] for i in range(n)]
    for k in range(n):
        for i in range(k + 1, n):
            f = A[i][k] / A[k][k]
            A[i][k] = f
            for j in range(k + 1, n):
                A[i][j] -= f * A[k][j]
    return A
""", 90)
_add("floyd", """
def main(n):
    D = [[(i * 37 + j * 101) % 999 + 1 for j in range(n)] for i in range(n)]
    for k in range(n):
        for i in range(n):
            dik, row = D[i][k], D[i]
            for j in range(n):
                if dik + D[k][j] < row[j]:
                    row[j] = dik + D[k][j]
    return D
""", 64)
_add("seidel", """
def main(n, turns):
    A = [[(i * (j + 2) + 2.0) / n for j in range(n)] for i in range(n)]
    for t in range(turns):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                A[i][j] = (A[i - 1][j] + A[i + 1][j] + A[i][j] + A[i][j - 1] + A[i][j + 1]) / 5.0
    return A
""", 64, 16)
_add("sieve", """
def main(n):
    flags, primes = [True] * (n + 1), []
    for i in range(2, n + 1):
        if flags[i]:
            primes.append(i)
            for j in range(i * i, n + 1, i):
                flags[j] = False
    return len(primes), primes[-1]
""", 200_000)

#: kernels on arrays, for the size of later capsules: what they rewrite at each step differs from nothing to all
_add("np-floyd", """
import numpy as np
def main(n):
    D = (np.arange(n * n, dtype=np.int64).reshape(n, n) * 7919) % 999 + 1
    for k in range(n):
        D[:] = np.minimum(D, D[:, k, None] + D[k])
    return D
""", 300)
_add("np-lu", """
import numpy as np
def main(n):
    A = 1.0 / (1 + np.abs(np.subtract.outer(np.arange(n), np.arange(n)))) + n * np.eye(n)
    for i in range(n):
        for j in range(i):
            A[i, j] = (A[i, j] - A[i, :j] @ A[:j, j]) / A[j, j]
        for j in range(i, n):
            A[i, j] -= A[i, :i] @ A[:i, j]
    return A
""", 160)
_add("np-gemm", """
import numpy as np
def main(n):
    A, B, C = np.arange(n * n).reshape(n, n) / n, np.arange(n * n).reshape(n, n) % 7 / 3, np.zeros((n, n))
    for i in range(n):
        C[i] = A[i] @ B
    return C
""", 400)
_add("np-jacobi", """
import numpy as np
def main(n, turns):
    A = np.arange(n * n).reshape(n, n) % 13 / 13.0
    B = A.copy()
    for t in range(turns):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])
    return A
""", 300, 60)
_add("np-histogram", """
import numpy as np
def main(n, bins):
    data, counts, seen = np.arange(n) * 7919 % 100_003, np.zeros(bins, np.int64), {}
    for i in range(0, n, 500):
        part = data[i:i + 500] % bins
        np.add.at(counts, part, 1)
        seen[i] = int(part.sum())
    return counts, seen
""", 400_000, 4096)
_add("np-sweep", """
import numpy as np
def main(n, rows):
    out, source = np.zeros((rows, n)), np.linspace(0, 1, n)
    for i in range(rows):
        out[i] = np.cumsum(source * i) % 1.0
    return out
""", 4000, 200)
PLAIN = ("nbody", "fannkuch", "fft", "sparse", "gemm", "lu", "floyd", "seidel", "sieve")
ARRAYS = tuple(name for name in KERNELS if name.startswith("np-"))
