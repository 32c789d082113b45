"""Kernels on which the sharder's choice is judged: none but ``letters`` had a part in how its constants were chosen.

That one showed that terms which are rows weigh more; how much was then measured on other loops.
Written here after what many programs do: some gain from shards, some in part, and some must be left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def julia(width: int, height: int, limit: int) -> list[list[int]]:
    rows = []
    for j in range(height):
        row = []
        for i in range(width):
            z = complex(3.0 * i / width - 1.5, 2.0 * j / height - 1.0)
            count = 0
            while count < limit and z.real * z.real + z.imag * z.imag < 4.0:
                z = z * z + (-0.7269 + 0.1889j)
                count += 1
            row.append(count)
        rows.append(row)
    return rows


def distances(words: list[str], to: str) -> list[int]:
    found = []
    for word in words:
        before = list(range(len(to) + 1))
        for i in range(len(word)):
            row = [i + 1]
            for j in range(len(to)):
                cost = before[j] + (word[i] != to[j])
                row.append(min(cost, before[j + 1] + 1, row[j] + 1))
            before = row
        found.append(before[-1])
    return found


def life(board: list[list[int]], turns: int) -> list[list[int]]:
    n = len(board)
    for _ in range(turns):
        after = []
        for i in range(n):
            row = []
            for j in range(n):
                near = 0
                for y in (i - 1, i, (i + 1) % n):
                    near += board[y][j - 1] + board[y][j] + board[y][(j + 1) % n]
                row.append(1 if near == 3 or (near == 4 and board[i][j]) else 0)
            after.append(row)
        board = after
    return board


def place(row: int, n: int, columns: int, left: int, right: int) -> int:
    if row == n:
        return 1
    total = 0
    for c in range(n):
        bit = 1 << c
        if not (columns & bit or left & (1 << (row + c)) or right & (1 << (row - c + n))):
            total += place(row + 1, n, columns | bit, left | 1 << (row + c), right | 1 << (row - c + n))
    return total


def queens(n: int) -> int:
    total = 0
    for c in range(n):
        for d in range(n):
            if abs(c - d) > 1:
                columns = 1 << c | 1 << d
                total += place(2, n, columns, 1 << c | 1 << (1 + d), 1 << (n - c) | 1 << (1 - d + n))
    return total


def integral(steps: int, inner: int) -> float:
    total = 0.0
    for i in range(steps):
        x, y = i / steps, 1.0
        for _ in range(inner):
            y = y * 0.5 + x / (1.0 + y)
        total += y / steps
    return total


def sorted_rows(rows: list[list[int]]) -> None:
    for i in range(len(rows)):
        rows[i] = sorted(rows[i])


def spectrum(signal: np.ndarray, frequencies: int) -> np.ndarray:
    out = np.zeros(frequencies)
    n = np.arange(signal.shape[0])
    for k in range(frequencies):
        out[k] = abs((signal * np.cos(2 * np.pi * k * n / signal.shape[0])).sum())
    return out


def sweep(a: np.ndarray, b: np.ndarray, turns: int) -> None:
    for _ in range(turns):
        for i in range(1, a.shape[0] - 1):
            b[i, 1:-1] = (a[i - 1, 1:-1] + a[i + 1, 1:-1] + a[i, :-2] + a[i, 2:]) * 0.25


def walks(seeds: list[int], steps: int) -> list[int]:
    ends = []
    for seed in seeds:
        state, at = seed, 0
        for _ in range(steps):
            state = (state * 1103515245 + 12345) % 2147483648
            at += 1 if state > 1073741824 else -1
        ends.append(at)
    return ends


def checksums(blocks: list[bytes]) -> list[int]:
    found = []
    for block in blocks:
        a, b = 1, 0
        for byte in block:
            a = (a + byte) % 65521
            b = (b + a) % 65521
        found.append(b << 16 | a)
    return found


def transposed(a: list[list[float]], out: list[list[float]]) -> None:
    for i in range(len(a)):
        for j in range(len(a)):
            out[i][j] = a[j][i]


def divisors(limit: int) -> list[int]:
    found = [0] * limit
    for n in range(1, limit):
        total = 0
        for k in range(1, n // 2 + 1):
            if n % k == 0:
                total += k
        found[n] = total
    return found


def half(n: int, inner: int) -> tuple[int, list[int]]:
    state, made = 1, []
    for _ in range(n * inner):
        state = (state * 69069 + 1) % 4294967296
    for i in range(n):
        x = i
        for _ in range(inner):
            x = (x * 69069 + 1) % 4294967296
        made.append(x)
    return state, made


def matrix_vector(a: list[list[float]], x: list[float], y: list[float]) -> None:
    for i in range(len(a)):
        s = 0.0
        for j in range(len(x)):
            s += a[i][j] * x[j]
        y[i] = s


def edges(image: np.ndarray, out: np.ndarray) -> None:
    for i in range(1, image.shape[0] - 1):
        for j in range(1, image.shape[1] - 1):
            gx = image[i, j + 1] - image[i, j - 1]
            gy = image[i + 1, j] - image[i - 1, j]
            out[i, j] = (gx * gx + gy * gy) ** 0.5


def spans(events: list[tuple[int, int]], at: list[int]) -> list[int]:
    found = []
    for moment in at:
        inside = 0
        for begin, end in events:
            if begin <= moment < end:
                inside += 1
        found.append(inside)
    return found


def smoothed(xs: list[float], width: int) -> list[float]:
    out = []
    for i in range(len(xs) - width):
        total = 0.0
        for k in range(width):
            total += xs[i + k]
        out.append(total / width)
    return out


def letters(texts: list[str]) -> list[list[int]]:
    table = []
    for text in texts:
        row = [0] * 26
        for letter in text:
            row[ord(letter) - 97] += 1
        table.append(row)
    return table


def shortest(table: list[list[int]], turns: int) -> int:
    n = len(table)
    for k in range(min(turns, n)):
        for i in range(n):
            for j in range(n):
                through = table[i][k] + table[k][j]
                table[i][j] = min(table[i][j], through)
    return sum(map(sum, table))


def by_length(words: list[str]) -> dict[int, list[str]]:
    groups: dict[int, list[str]] = {}
    for word in words:
        groups.setdefault(len(word), []).append(word)
    return groups


def judged(size: float) -> dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]]:
    """Functions with makers of their arguments; at ``size`` 1 most take a second or two."""

    def n(base: int, power: float = 1.0) -> int:
        return max(4, int(base * size ** (1 / power)))

    def rows(count: int, width: int) -> list[list[float]]:
        return [[(i * 7 + j * 3) % 11 + 0.5 for j in range(width)] for i in range(count)]

    def words(count: int) -> list[str]:
        return ["".join(chr(97 + (i * k + k * k) % 26) for k in range(5 + i % 9)) for i in range(count)]

    def whole(count: int, width: int) -> list[list[int]]:
        return [[(i * 7919 + j * 104729) % 1000003 for j in range(width)] for i in range(count)]

    return {
        "julia": (julia, lambda: (n(350, 2), n(350, 2), 300)),
        "distances": (distances, lambda: (words(n(42_000)), "transformation")),
        "life": (life, lambda: ([[(i * j + i) % 3 % 2 for j in range(n(400, 2))] for i in range(n(400, 2))], 25)),
        "queens": (queens, lambda: (9 if size > 0.5 else 6,)),
        "integral": (integral, lambda: (n(500_000), 60)),
        "sorted rows": (sorted_rows, lambda: (whole(n(600), 6000),)),
        "spectrum": (spectrum, lambda: (np.arange(20_000) % 17 / 17.0, n(6000))),
        "sweep": (sweep, lambda: (np.arange(float(n(1200) * 2000)).reshape(n(1200), 2000), np.zeros((n(1200), 2000)),
                                  30)),
        "walks": (walks, lambda: (list(range(1, n(80))), 120_000)),
        "checksums": (checksums, lambda: ([bytes(range(256)) * 200] * n(400),)),
        "transposed": (transposed, lambda: (rows(n(1400, 2), n(1400, 2)), rows(n(1400, 2), n(1400, 2)))),
        "divisors": (divisors, lambda: (n(13_000, 2),)),
        "half": (half, lambda: (n(1000), 6000)),
        "matrix-vector": (matrix_vector, lambda: (rows(n(1500, 2), n(1500, 2)), [0.5] * n(1500, 2),
                                                  [0.0] * n(1500, 2))),
        "spans": (spans, lambda: ([(i * 7 % 9000, i * 7 % 9000 + i % 50) for i in range(2000)],
                                  list(range(n(36_000))))),
        "smoothed": (smoothed, lambda: ([i % 17 / 17 for i in range(n(750_000))], 60)),
        "letters": (letters, lambda: (words(n(1_000_000)),)),
        "shortest": (shortest, lambda: (whole(n(300, 2), n(300, 2)), 120)),
        "by length": (by_length, lambda: (words(n(1_500_000)),)),
        "edges": (edges, lambda: (np.arange(float(n(1400, 2) ** 2)).reshape(n(1400, 2), -1) % 251,
                                  np.zeros((n(1400, 2), n(1400, 2))))),
    }  # fmt: skip
