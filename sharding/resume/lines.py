"""Lines for new code: each statement gets one of its own, by which a running frame tells where it is.

The call of a call statement also gets a column of its own, so that a frame that is inside another call of the same
line (one among the arguments) is not taken for it.
"""

from __future__ import annotations

import ast
from typing import Final

from sidestep.sharding.resume.transform import Marked

#: the column of the call of a call statement; everything else is in column 0
CALL_COLUMN: Final = 7


class Lines:
    """Numbers the lines of one function from ``start`` on; ``heads`` and ``calls`` map lines to ids of positions.

    ``nameless`` has the iterators without a name around each of those lines.
    """

    def __init__(self, tree: ast.FunctionDef, marked: Marked, start: int) -> None:
        self._marked, self._line = marked, start
        self.heads: dict[int, int] = {}
        self.calls: dict[int, int] = {}
        self.nameless: dict[int, frozenset[str]] = {}
        self._statement(tree)

    @property
    def last(self) -> int:
        """The last line that was given."""
        return self._line

    def _place(self, node: ast.AST, column: int = 0) -> None:
        if "lineno" in node._attributes:
            node.lineno = node.end_lineno = self._line  # type: ignore[attr-defined]
            node.col_offset, node.end_col_offset = column, column  # type: ignore[attr-defined]

    def _statement(self, node: ast.AST) -> None:
        self._line += 1
        self._place(node)
        if id(node) in self._marked.nameless:
            self.nameless[self._line] = self._marked.nameless[id(node)]
        if id(node) in self._marked.heads:
            self.heads[self._line] = self._marked.heads[id(node)]
        blocks: list[ast.AST] = []
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                blocks.append(child)
            else:
                for part in ast.walk(child):
                    self._place(part)
        if id(node) in self._marked.calls:
            assert isinstance(node, ast.Assign | ast.Expr | ast.Return) and node.value is not None
            self.calls[self._line] = self._marked.calls[id(node)]
            self._place(node.value, CALL_COLUMN)
        for block in blocks:
            self._statement(block)
