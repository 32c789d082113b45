"""Hazards, part 6: keys that tell elements apart, names that were one object, iterables that are read as they go."""

from __future__ import annotations

from hazards import hazard

hazard(
    "keys_that_repeat",
    """
    def f(keys, h):
        out = []
        for i, k in enumerate(keys):
            if i < 2:
                h[k] = 9
            else:
                out.append(h[k])
        return h, out
    """,
    lambda: ([3, 1, 0, 2, 3, 1], [5, 6, 7, 8]),
)

hazard(
    "keys_that_differ",
    """
    def f(keys, h, g):
        for k in keys:
            h[k] = g[k] * 2
        return h
    """,
    lambda: (["b", "a", "c"], {"z": 1}, {"a": 1, "b": 2, "c": 3}),
    "doall",
)

hazard(
    "keys_from_the_end",
    """
    def f(keys, h):
        out = []
        for i, k in enumerate(keys):
            if i < 2:
                h[k] = 9
            else:
                out.append(h[k])
        return h, out
    """,
    lambda: ([3, -3, 1, 0], [5, 6, 7, 8]),
)

hazard(
    "keys_that_change_before_their_turn",
    """
    def f(pairs, h):
        for pair in pairs:
            pair[0] = 3 - pair[0]
        for a, b in pairs:
            h[a] = h[a] + b
            pairs[1][0] = 2
        return h
    """,
    lambda: ([[0, 1], [1, 2], [3, 3]], [5, 6, 7, 8]),
)

hazard(
    "a_dict_divided",
    """
    def f(d):
        for k, v in d.items():
            d[k] //= v - 1
        return d
    """,
    lambda: ({"a": 3, "b": 9, "c": 5},),
    "doall",
)

hazard(
    "a_list_of_its_own_positions",
    """
    def f(xs):
        for x in xs:
            xs[x] = 3 - x
        return xs
    """,
    lambda: ([1, 2, 0],),
)

hazard(
    "buffers_that_are_one",
    """
    def f(a, both):
        b = a
        if not both:
            b = list(a)
        for i in range(1, len(a) - 1):
            b[i] = a[i - 1] + a[i + 1]
        return a, b
    """,
    lambda: (list(range(9)), True),
)

hazard(
    "buffers_that_are_two",
    """
    def f(a, steps):
        b = a[:]
        for t in range(steps):
            for i in range(1, len(a) - 1):
                b[i] = a[i - 1] + a[i + 1]
            a, b = b, a
        return a, b
    """,
    lambda: (list(range(9)), 3),
    "doall",
)

hazard(
    "buffers_that_share_rows",
    """
    def f(a):
        b = list(a)
        for i in range(1, len(a)):
            b[i][0] = a[i - 1][0] + 1
        return a, b
    """,
    lambda: ([[1], [2], [3], [4]],),
)

hazard(
    "a_set_before_a_failure",
    """
    def f(xs, s, h):
        for x in xs:
            s.add(x)
            h[x] += x
        return s, h
    """,
    lambda: ([1, 2, 3, 4, 5, 6], {9}, {1: 1, 2: 2, 3: "a", 4: 4, 5: 5, 6: 6}),
)

hazard(
    "discarded_and_added",
    """
    def f(xs, s):
        for x in xs:
            s.discard(x)
            s.add(x % 4)
        return sorted(s)
    """,
    lambda: ([5, 1, 4, 3, 8, 5, 2], {1, 2, 3, 4, 5}),
    "reduction",
)

hazard(
    "added_and_taken_away",
    """
    def f(text, values):
        total = 0
        for i in range(len(text) - 1):
            if values[text[i]] < values[text[i + 1]]:
                total -= values[text[i]]
            else:
                total += values[text[i]]
        return total
    """,
    lambda: ("MCMXCIV", {"I": 1, "V": 5, "X": 10, "C": 100, "M": 1000}),
    "reduction",
)

hazard(
    "floats_added_and_taken_away",
    """
    def f(xs, total):
        for x in xs:
            if x > 2:
                total -= x
            else:
                total += x
        return total
    """,
    lambda: ([0.1, 5e16, 0.3, 7.7, 1e-9, 5e16, 0.2], 1e-3),
)

hazard(
    "the_best_of_some",
    """
    def f(xs, ys):
        best, where = 99, None
        for i in range(len(xs)):
            if ys[i] > 2 and xs[i] < best and ys[i] < 9:
                best = xs[i]
                where = i
        return best, where
    """,
    lambda: ([7, 3, 3, 1, 4, 1, 2], [3, 3, 5, 1, 8, 9, 4]),
    "reduction",
)

hazard(
    "the_best_of_those_that_beat_it",
    """
    def f(xs):
        best, where = 99, 0
        for i in range(len(xs)):
            if i > where + 1 and xs[i] < best:
                best = xs[i]
                where = i
        return best, where
    """,
    lambda: ([7, 3, 3, 1, 4, 0, 2],),
)

hazard(
    "rows_seen_by_a_generator",
    """
    def f(M):
        out = []
        for i, s in enumerate(x[0] for x in M):
            if i < 4:
                M[i + 1][0] = 100
            out.append(s)
        return out
    """,
    lambda: ([[1], [3], [5], [7], [1], [2]],),
)

hazard(
    "rows_chained",
    """
    import itertools

    def f(M):
        out = []
        for i, s in enumerate(itertools.chain(*M)):
            if i < 4:
                M[i + 1][0] = 100
            out.append(s)
        return out
    """,
    lambda: ([[1], [3], [5], [7], [1], [2]],),
)

hazard(
    "a_row_that_is_gone_over",
    """
    def f(M):
        out = []
        for i, s in enumerate(M[2]):
            if i < 3:
                M[i + 1][3] = 100
            out.append(s)
        return out
    """,
    lambda: ([[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8], [7, 8, 9, 1], [1, 1, 1, 1]],),
)

hazard(
    "zipped_and_written",
    """
    def f(xs, M):
        for x, row in zip(xs, M):
            row[1] += x
        return xs, M
    """,
    lambda: (lambda xs: (xs, [xs, [1, 2], [3, 4], [5, 6]]))([1, 2, 3, 4]),  # noqa: PLC3002 - one list, twice
)

hazard(
    "a_name_that_a_lambda_keeps",
    """
    def f(xs, ys):
        later = []
        out = []
        for x in xs:
            later.append(lambda: x)
        for x in ys:
            out.append(x * 2)
        return [one() for one in later], out
    """,
    lambda: ([1, 2, 3], [7, 8, 9]),
    "reduction",
)

hazard(
    "a_name_that_a_generator_keeps",
    """
    def f(xs, ys, zs):
        later = None
        out = []
        for x in xs:
            later = (x + z for z in zs)
        for x in ys:
            out.append(x * 2)
            if x == 8:
                out.extend(list(later))
        return out
    """,
    lambda: ([1, 2, 3], [7, 8, 9], [10, 20]),
)

hazard(
    "a_name_of_two_kinds",
    """
    def f(array, most):
        grid = [[0] * len(array) for _ in range(most)]
        for col, number in enumerate(array):
            for row in range(number):
                grid[row][col] = 1
        for row in grid:
            count = sum(row)
            for col in range(len(array)):
                row[col] = 1 if col < count else 0
        return grid
    """,
    lambda: ([6, 3, 4, 1, 5, 2], 6),
    "doall",
)
