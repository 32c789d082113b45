"""Fire drills of pools, typed after a colon: shown what they do, confirmed, and begun by the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidestep.autopilot.protocol_pools import DrillPool, ListPools, PoolRow, PoolsView
from sidestep.console.ordering import Ordering, noted, said
from sidestep.console.panels.order import OrderPanel
from sidestep.console.pooltext import drilled, no_drill
from sidestep.console.text import Line
from sidestep.fleet.errors import SidestepError

if TYPE_CHECKING:
    from sidestep.console.screens.base import ConsoleScreen

_DOES = "its cold instance that slept longest is woken, has to become ready, and is put back; it serves nobody"


class Drilling(Ordering):
    """The part of the application that begins fire drills."""

    if TYPE_CHECKING:  # what the application has

        @property
        def place(self) -> ConsoleScreen:
            """The screen under any dialog."""

    def drill(self, name: str) -> None:
        """Ask with what a drill does; without a name it is of the pool under the cursor."""
        name = name or next(iter(self.place.pool_names()), "")
        if why := self.disabled("drill"):
            self.tell(why)
        elif not name:
            self.tell("drill which pool? name it, or choose one on the page of pools")
        else:
            self.run_worker(self._drill(name), exit_on_error=False)

    async def _drill(self, name: str) -> None:
        try:
            answer = await self.given.feed.call(ListPools(name))
        except SidestepError as error:
            self.tell(str(error))
            return
        pool = next(iter(answer.pools), None) if isinstance(answer, PoolsView) else None
        if why := no_drill(pool):
            self.tell(why)
        elif pool is not None:
            now = self.clockwork.picture().now
            self.ask(OrderPanel(self.given, f"fire drill of {pool.name}", lambda width: _lines(pool, now, width)),
                     lambda reason: DrillPool(pool.name, reason))  # fmt: skip


def _lines(pool: PoolRow, now: float, width: int) -> list[Line]:
    """What a drill of that pool does, and how the newest one went."""
    newest = f"{pool.states.get('COLD', 0)} cold; the newest drill: {drilled(pool, now)}"
    return [*said(f"pool {pool.name}: {_DOES}", width), (), *noted(newest, width)]
