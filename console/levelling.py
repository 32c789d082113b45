"""How far the autopilot may go, set from the console: typed after a colon, shown, and confirmed."""

from __future__ import annotations

from typing import Final

from sidestep.autopilot.protocol import SetLevel
from sidestep.autopilot.protocol_levels import AutopilotView, GetAutopilot, Promote
from sidestep.console.ordering import Ordering, noted, said
from sidestep.console.panels.order import OrderPanel
from sidestep.console.text import Line, Span, wrap
from sidestep.console.widgets.topbar import ACTS
from sidestep.fleet.errors import SidestepError

#: what each level does by itself
_DOES: Final = {
    "off": "observes and forecasts; nothing is planned",
    "shadow": "plans for itself, notes what it would have done, and proposes nothing",
    "advise": "proposes plans; people approve every one",
    "semi": "approves by itself what is small, sure and in time; people approve the rest",
    "full": "approves by itself whatever the policy lets it",
    "clear": "what was set is taken back: the fleet file and wider levels count again",
}
LEVELS: Final = tuple(_DOES)
_SCOPES: Final = ("app", "shard", "host")


def read(text: str) -> SetLevel | str:
    """What ``LEVEL [app|shard|host NAME]`` asks for, or what is wrong with it."""
    level, *rest = text.split()
    if level not in LEVELS:
        return f"no level {level}; there are: {', '.join(LEVELS)}"
    if rest and (len(rest) != 2 or rest[0] not in _SCOPES):
        return f":level {level} app NAME, or shard or host; without one it is the fleet's"
    scope, name = rest or ("fleet", "")
    return SetLevel("" if level == "clear" else level, "", scope, name)


def _rank(level: str) -> int:
    """How far a level lets the autopilot go."""
    return LEVELS.index(level) if level in LEVELS else -1


class Levelling(Ordering):
    """The part of the application that sets levels and takes what trust offers."""

    def set_level(self, text: str) -> None:
        """Ask with what the level does; one at which the autopilot acts by itself wants its name typed."""
        asked = read(text)
        if isinstance(asked, str):
            self.tell(asked)
        elif why := self.disabled("level"):
            self.tell(why)
        else:
            self.run_worker(self._level(asked), exit_on_error=False)

    async def _level(self, asked: SetLevel) -> None:
        whose = "the fleet" if asked.scope == "fleet" else f"{asked.scope} {asked.name}"
        known = await self._account()

        def lines(width: int) -> list[Line]:
            found = said(f"{whose}: {_DOES[asked.level or 'clear']}", width)
            if known is not None:
                trust = f"trust allows {known.allowed}; the lower one holds, so what acts now is {known.effective}"
                found += [(), *noted(f"the fleet is set to {known.level}; {trust}", width)]
                if asked.scope != "fleet" and asked.level and _rank(asked.level) > _rank(known.effective):
                    none = f"no effect while the fleet is at {known.effective}: the most cautious level holds"
                    found += [(Span(row, "warn"),) for row in wrap(none, width)]
            return found

        title = f"level {asked.level or 'clear'} for {whose}"
        panel = OrderPanel(self.given, title, lines, word=asked.level if asked.level in ACTS else "")
        self.ask(panel, lambda reason: SetLevel(asked.level, reason, asked.scope, asked.name))

    def do_promote(self) -> None:
        """Ask whether to allow the level that trust offers, or say what is missing for an offer."""
        if why := self.disabled("promote"):
            self.tell(why)
        else:
            self.run_worker(self._promote(), exit_on_error=False)

    async def _promote(self) -> None:
        known = await self._account()
        if known is None:
            return
        if not known.offer:
            steady = f"{known.steady} of {known.steady_needed} good judgements in a row"
            self.tell(f"nothing is offered: trust allows {known.allowed}, {steady}")
            return
        offer = known.offer
        panel = OrderPanel(
            self.given, f"allow {offer}", lambda width: said(f"the fleet: {_DOES[offer]}", width), word=offer
        )
        self.ask(panel, lambda reason: Promote(offer, reason))

    async def _account(self) -> AutopilotView | None:
        try:
            answer = await self.given.feed.call(GetAutopilot())
        except SidestepError as error:
            self.tell(str(error))
            return None
        return answer if isinstance(answer, AutopilotView) else None
