"""Kernels of the contest on real processes: some gain from shards, some must be left alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def mandelbrot(width: int, height: int, limit: int) -> list[list[int]]:
    rows = []
    for j in range(height):
        row = []
        for i in range(width):
            c = complex(3.0 * i / width - 2.0, 2.0 * j / height - 1.0)
            z = 0j
            count = 0
            while count < limit and z.real * z.real + z.imag * z.imag < 4.0:
                z = z * z + c
                count += 1
            row.append(count)
        rows.append(row)
    return rows


def pairwise(points: list[list[float]]) -> list[list[float]]:
    n = len(points)
    out = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            d = 0.0
            for k in range(len(points[i])):
                d += (points[i][k] - points[j][k]) ** 2
            out[i][j] = math.sqrt(d)
    return out


def matmul(a: list[list[float]], b: list[list[float]], c: list[list[float]], n: int) -> None:
    for i in range(n):
        for j in range(n):
            s = 0.0
            for k in range(n):
                s += a[i][k] * b[k][j]
            c[i][j] = s


def convolve(image: np.ndarray, out: np.ndarray, weights: np.ndarray) -> None:
    for i in range(1, image.shape[0] - 1):
        for j in range(1, image.shape[1] - 1):
            s = 0.0
            for y in range(3):
                for x in range(3):
                    s += image[i + y - 1, j + x - 1] * weights[y, x]
            out[i, j] = s


def collatz(limit: int) -> tuple[int, int]:
    best, at = 0, 1
    for start in range(1, limit):
        n, steps = start, 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        if steps > best:
            best = steps
            at = start
    return best, at


def row_norms(a: np.ndarray, turns: int) -> np.ndarray:
    out = np.zeros(a.shape[0])
    for i in range(a.shape[0]):
        v = a[i].copy()
        for _ in range(turns):
            v = np.sqrt(v * v + 0.5)
        out[i] = v.sum()
    return out


def primes(limit: int) -> list[int]:
    found = []
    for n in range(2, limit):
        prime = True
        for k in range(2, int(math.sqrt(n)) + 1):
            if n % k == 0:
                prime = False
                break
        if prime:
            found.append(n)
    return found


def add(xs: list[float], ys: list[float]) -> list[float]:
    out = [0.0] * len(xs)
    for i in range(len(xs)):
        out[i] = xs[i] + ys[i]
    return out


def scale(a: np.ndarray, k: float) -> None:
    for i in range(a.shape[0]):
        a[i] = a[i] * k


def running(xs: list[float]) -> list[float]:
    for i in range(1, len(xs)):
        xs[i] = xs[i] + xs[i - 1] * 0.5
    return xs


def nearest(points: list[list[float]], centres: list[list[float]]) -> list[int]:
    labels = []
    for p in points:
        best, at = 1e300, 0
        for k in range(len(centres)):
            d = 0.0
            for c in range(len(p)):
                d += (p[c] - centres[k][c]) ** 2
            if d < best:
                best = d
                at = k
        labels.append(at)
    return labels


def counts(items: list[int], kinds: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for item in items:
        key = item * 31 % kinds
        found[key] = found.get(key, 0) + 1
    return found


def cases(size: float) -> dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]]:
    """Functions with makers of their arguments; ``size`` 1 takes each about a CPU second."""

    def n(base: int, power: float = 1.0) -> int:
        return max(4, int(base * size ** (1 / power)))

    def rows(count: int, width: int) -> list[list[float]]:
        return [[(i * 7 + j * 3) % 11 + 0.5 for j in range(width)] for i in range(count)]

    return {
        "mandelbrot": (mandelbrot, lambda: (n(360, 2), n(360, 2), 120)),
        "pairwise": (pairwise, lambda: (rows(n(560, 2), 8),)),
        "matmul": (matmul, lambda: (rows(n(240, 3), n(240, 3)), rows(n(240, 3), n(240, 3)),
                                    rows(n(240, 3), n(240, 3)), n(240, 3))),
        "convolve": (convolve, lambda: (np.arange(float(n(330, 2) ** 2)).reshape(n(330, 2), -1),
                                        np.zeros((n(330, 2), n(330, 2))), np.ones((3, 3)) / 9)),
        "collatz": (collatz, lambda: (n(100_000),)),
        "row norms": (row_norms, lambda: (np.arange(float(n(500) * 400)).reshape(n(500), 400) % 13, 300)),
        "primes": (primes, lambda: (n(150_000, 1.5),)),
        "add": (add, lambda: ([0.5] * n(3_000_000), [1.5] * n(3_000_000))),
        "scale": (scale, lambda: (np.ones((n(4000), 2000)), 1.5)),
        "nearest": (nearest, lambda: (rows(n(140_000), 4), rows(20, 4))),
        "counts": (counts, lambda: ([i * i % 100_003 for i in range(n(200_000))], 997)),
        "running": (running, lambda: ([0.5] * n(3_000_000),)),
    }  # fmt: skip
