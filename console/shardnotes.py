"""What a picture does not say of shards: the age of what is kept for the loss of their host, and why they wait."""

from __future__ import annotations

import math
from typing import Any

from sidestep.autopilot.protocol_capsules import CapsuleList, CapsuleRow
from sidestep.autopilot.protocol_queue import QueueRow, QueueView
from sidestep.console.shardcolumns import SHARDS
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Line, Span, StyleName, fit, span
from sidestep.console.view import FleetView
from sidestep.fleet.resources import show_seconds


class Notes:
    """The newest answers about capsules and the queue, by shard."""

    def __init__(self) -> None:
        self._capsules: dict[str, CapsuleRow] = {}
        self._queue: dict[str, QueueRow] = {}
        self._from: tuple[object, object] = (None, None)

    def take(self, capsules: object, queue: object) -> None:
        """Take answers of the daemon; None is none yet, and what was known stays."""
        if (capsules, queue) == self._from:
            return
        self._from = (capsules, queue)
        if isinstance(capsules, CapsuleList):
            self._capsules = {str(row.shard): row for row in capsules.rows}
        if isinstance(queue, QueueView):
            self._queue = {str(row.shard): row for row in queue.rows}

    def capsule(self, shard: str) -> CapsuleRow | None:
        """What is kept of a shard."""
        return self._capsules.get(shard)

    def waiting(self, shard: str) -> QueueRow | None:
        """Where a shard is in the queue."""
        return self._queue.get(shard)

    def ages(self, view: FleetView) -> Any:
        """(N,) seconds since the newest capsule of every shard; NaN where none is kept."""
        import numpy as np  # noqa: PLC0415 - not before the first paint

        found = np.full(len(view.shards), math.nan)
        for name, row in self._capsules.items():
            if row.age is not None and (at := view.shard_rows.get(name)) is not None:
                found[at] = row.age
        return found

    def cell(self, view: FleetView, shard: int, width: int, glyphs: Glyphs) -> tuple[Span, ...]:
        """The age of the newest capsule, or that it waits: a word where something is wrong."""
        name = view.shard_names[shard]
        row, waits = self.capsule(name), self.waiting(name)
        style: StyleName = "muted"
        if waits is not None:
            text, style = f"{glyphs.waiting} queued", "warn"
        elif row is None:
            text = glyphs.none
        elif row.age is None:
            text, style = f"{glyphs.failed} none", "warn"
        elif row.stale:
            text, style = f"{glyphs.failed} {show_seconds(row.age)}", "warn"
        else:
            text = show_seconds(row.age)
        return (Span(fit(text, width - 1, glyphs, right=True) + " ", style),)

    def words(self, shard: str, glyphs: Glyphs) -> list[Line]:
        """A line for what is kept of the shard, and one for why it waits."""
        lines: list[Line] = []
        if (row := self.capsule(shard)) is not None:
            age = f"{show_seconds(row.age)} old" if row.age is not None else "not complete yet"
            where = f" on {', '.join(row.copies)}" if row.copies else ""
            bad = [f"damaged on {host}" for host in row.bad] + [f"away with {host}" for host in row.lost]
            trouble = "; ".join([*(["older than it should be"] if row.stale else []), *bad, str(row.trouble)]).strip(
                "; "
            )
            sign = glyphs.failed if trouble or row.age is None else glyphs.done
            lines.append(
                (
                    Span(f" {sign} capsule ", "warn" if trouble or row.age is None else "ok"),
                    span(f"{age}{where}, every {show_seconds(row.every)}"),
                    span(f"  {trouble}" if trouble else "", "warn"),
                )
            )
        if (waits := self.waiting(shard)) is not None:
            why = "; ".join(f"{each.host + ': ' if each.host else ''}{each.reason.text}" for each in waits.reasons[:3])
            reason = f"{waits.reason.text} [{waits.reason.code}]"
            lines.append(
                (
                    Span(f" {glyphs.waiting} queued ", "warn"),
                    span(f"for {show_seconds(waits.waited)}: {reason}{f'; {why}' if why else ''}"),
                )
            )
        return lines


def noted(notes: Notes) -> Sheet[FleetView]:
    """The sheet of all shards with what the notes say."""
    column: Column[FleetView] = Column(
        id="capsule", title="CAPSULE", width=10, cells=notes.cell, key=notes.ages, right=True, least=94
    )
    return Sheet(columns=(*SHARDS.columns, column), names=SHARDS.names, first=SHARDS.first)
