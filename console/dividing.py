"""Splits and merges, typed after a colon: ``:split kv-01 to h2 at 4096``. Only proposed: approving is another step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.console.ordering import Ordering
from sidestep.console.view import merge_plans
from sidestep.fleet.errors import SidestepError

if TYPE_CHECKING:
    from sidestep.console.screens.base import ConsoleScreen

_FORM: Final = {
    "split": ":split SHARD to HOST at KEY spare SHARD, of which only SHARD is needed",
    "merge": ":merge SHARD",
}


def read(verb: Literal["split", "merge"], text: str, meant: str) -> ProposeReshard | str:
    """What was typed, about the shard that is ``meant`` where none is named; or what is wrong with it."""
    words = text.split()
    shard = words.pop(0) if len(words) % 2 else meant
    given = dict(zip(words[::2], words[1::2], strict=True))
    known = {"to", "at", "spare"} if verb == "split" else {"spare"}
    if not shard:
        return f"{verb} which shard? {_FORM[verb]}"
    if set(given) - known or len(given) != len(words) // 2 or not given.get("at", "0").isdecimal():
        return f"not understood; write {_FORM[verb]}"
    at = int(given.get("at", "-1"))
    return ProposeReshard(verb, shard, spare=given.get("spare", ""), destination=given.get("to", ""), at=at)


class Dividing(Ordering):
    """The part of the application that has splits and merges proposed."""

    if TYPE_CHECKING:  # what the application has

        @property
        def place(self) -> ConsoleScreen:
            """The screen under any dialog."""

        def open_page(self, kind: str, name: str = "") -> None:
            """Open the page of something."""

    def divide(self, verb: Literal["split", "merge"], text: str) -> None:
        """Have it proposed, and open the page of the plan."""
        asked = read(verb, text, self.place.shard_meant())
        if why := self.disabled(verb):
            self.tell(why)
        elif isinstance(asked, str):
            self.tell(asked)
        else:
            self.run_worker(self._propose(asked), exit_on_error=False)

    async def _propose(self, asked: ProposeReshard) -> None:
        try:
            answer = await self.given.feed.call(asked)
        except SidestepError as error:
            self.tell(str(error))
            return
        if isinstance(answer, PlanView):
            self.given.feed.plans = merge_plans(self.given.feed.plans, (answer,))
            self.open_page("plan", answer.digest)
            self.tell(f"plan #{answer.plan.number} is proposed; approve it to run it")
