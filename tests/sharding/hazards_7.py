"""Hazards, part 7: what loops go over, keep, and leave to what comes after them."""

from __future__ import annotations

from hazards import hazard

hazard(
    "extended_rows_that_are_gone_over",
    """
    def f(h, v):
        for k, row in h.items():
            row += [v]
        return h
    """,
    lambda: ({1: [1], 2: [2], 3: [3]}, 7),
)

hazard(
    "filled_rows_that_are_gone_over",
    """
    def f(h, v):
        row = None
        for row in h.values():
            row.append(v)
        for k, row in h.items():
            row[0] += k
        return h, row
    """,
    lambda: ({1: [1], 2: [2], 3: [3]}, 7),
)

hazard(
    "a_list_that_grows_under_another_name",
    """
    def f(xs, other):
        zs = xs
        if not xs:
            zs = other
        for x in zs:
            if x < 5:
                xs.append(x * 10)
        return xs
    """,
    lambda: ([1, 20, 3, 40], []),
)

hazard(
    "a_row_that_grows_in_its_table",
    """
    def f(M, k):
        row = M[k]
        for i, x in enumerate(M[2]):
            if i < 4:
                row.append(x)
        return M
    """,
    lambda: ([[1], [20], [3, 4, 5]], 2),
)

hazard(
    "the_last_row_is_extended_later",
    """
    def f(M, n):
        row, count = M[0], 0
        for i in range(n):
            row += [i]
            for row in M:
                count += row[0]
        return M, count
    """,
    lambda: ([[1], [2], [3]], 3),
    "reduction",
)

hazard(
    "the_last_value_is_read_by_else",
    """
    def f(xs):
        out, y = [], 0
        for x in xs:
            y = x * 2
        else:
            out.append(y)
        return out
    """,
    lambda: ([1, 2, 3],),
    "doall",
)

hazard(
    "a_target_that_is_added_to",
    """
    def f(xs):
        out = []
        for x in xs:
            x += 1
            out.append(x * x)
        return out
    """,
    lambda: ([1, 2, 3],),
    "reduction",
)

hazard(
    "a_module_variable_that_grows",
    """
    TABLE = [1, 2, 3, 4]

    def f(out):
        out = out or TABLE
        for x in TABLE:
            if x < 3:
                out.append(x + 4)
        del TABLE[4:]
        return list(out)
    """,
    lambda: ([],),
)
