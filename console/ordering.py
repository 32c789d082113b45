"""Orders about hosts, typed after a colon: shown what they do, confirmed, and given by the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from textual.app import App

from sidestep.autopilot.protocol import Body, Done
from sidestep.autopilot.protocol_hosts import CordonHosts, DrainHosts, HostOrders, UncordonHosts
from sidestep.autopilot.protocol_oracle import OccasionList
from sidestep.autopilot.protocol_plans import DrainView, TryDrain
from sidestep.console.panels.order import OrderPanel
from sidestep.console.planningtext import drain_lines
from sidestep.console.text import Line, Span, span, wrap
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.questions import Preflight

if TYPE_CHECKING:
    from sidestep.console.clockwork import Clockwork
    from sidestep.console.context import Context

_DOES: Final = {
    "cordon": "accepts no new shards, and keeps those that it has",
    "uncordon": "accepts shards again; nothing more leaves it for an order, and what moved stays",
}


class Ordering(App[int]):
    """The part of the application that closes, empties and opens hosts, and how any order is given."""

    given: Context
    clockwork: Clockwork

    if TYPE_CHECKING:  # what the application has

        def tell(self, text: str) -> None:
            """A note in the corner."""

    def disabled(self, verb: str) -> str:
        """Why no order can be given now, or ""."""
        if why := self.given.looking:
            return f"{verb} is disabled: {why}"
        if self.clockwork.picture().status.kind != "live":
            return f"{verb} is disabled: the daemon is gone"
        return ""

    def order(self, verb: str, hosts: tuple[str, ...]) -> None:
        """Ask with what the order does; ``verb`` is cordon, uncordon or drain."""
        view, hosts = self.given.feed.view, tuple(dict.fromkeys(hosts))
        unknown = [host for host in hosts if view is None or host not in view.rows]
        if why := self.disabled(verb):
            self.tell(why)
        elif unknown or not hosts:
            self.tell(f"no host is called {unknown[0]}" if unknown else f"{verb} which hosts? name or mark them")
        elif verb == "drain":
            self.tell(f"asking what would move off {', '.join(hosts)}")
            self.run_worker(self._preflight(hosts), exit_on_error=False)
        else:
            self._confirm(verb, hosts, lambda width: said(f"{', '.join(hosts)} {_DOES[verb]}", width))

    async def _preflight(self, hosts: tuple[str, ...]) -> None:
        """What cannot move and why, and the plan that would empty them, before anybody decides."""
        found: list[Preflight] = []
        try:
            for host in hosts:
                answer = await self.given.feed.call(TryDrain(host, tuple(each for each in hosts if each != host)))
                if isinstance(answer, DrainView):
                    found.append(answer.preflight)
        except SidestepError as error:
            self.tell(str(error))
            return
        glyphs = self.given.glyphs

        def lines(width: int) -> list[Line]:
            told = [line for each in found for line in (*drain_lines(each, time.time(), width, glyphs), ())]
            return told[:-1]

        self._confirm("drain", hosts, lines)

    def _confirm(self, verb: str, hosts: tuple[str, ...], lines: Callable[[int], list[Line]]) -> None:
        def body(reason: str, until: float) -> Body:
            if verb == "uncordon":
                return UncordonHosts(hosts, reason)
            return (DrainHosts if verb == "drain" else CordonHosts)(hosts, reason, until)

        named = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        panel = OrderPanel(self.given, f"{verb} {named}", lines, ends=verb != "uncordon")
        self.ask(panel, lambda reason: body(reason, panel.until))

    def ask(self, panel: OrderPanel, body: Callable[[str], Body]) -> None:
        """Show the dialog, and have the daemon do what it says once it is confirmed."""

        def decided(reason: str | None) -> None:
            if reason is not None:
                self.run_worker(self._give(body(reason)), exit_on_error=False)

        self.push_screen(panel, decided)

    async def _give(self, body: Body) -> None:
        try:
            answer = await self.given.feed.call(body)
        except SidestepError as error:
            self.tell(str(error))
            return
        text = str(answer.text) if isinstance(answer, HostOrders | Done) else ""
        if isinstance(answer, OccasionList):
            text = ", ".join(f"event {row.id} is announced: {row.occasion.name}" for row in answer.occasions)
        self.tell(text or "done")


def said(text: str, width: int) -> list[Line]:
    """The text, wrapped."""
    return [(span(row),) for row in wrap(span(text).text, width)]


def noted(text: str, width: int) -> list[Line]:
    """The text, wrapped, as what is known besides."""
    return [(Span(row, "muted"),) for row in wrap(span(text).text, width)]
