"""What tells people of an alert, by the name that a target begins with; ours is found like anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from sidestep.fleet.extensions import NOTIFIERS, PluginError, load
from sidestep.fleet.labels import Label

#: what a target without a name goes through
USUAL: Final = "apprise"


class Notice(Struct, frozen=True):
    """One message; ``over`` if it says that something ended. Title and body are scrubbed."""

    title: Label
    body: str
    over: bool


class Notifier(Protocol):
    """What an entry point of ``sidestep.notifiers`` leads to, called without arguments, makes.

    ``addresses`` are the lines of the file, or what the command printed, that the target names. They are
    secrets: nothing of them may stand in an error, a log or a command line.
    """

    def send(self, addresses: Sequence[str], notice: Notice) -> None:
        """Tell all of them. May block: it has a thread of its own. Raises when it did not arrive; it is tried again.

        The text of a SidestepError is shown, of anything else its type alone.
        """


def notifier(name: str) -> Notifier:
    """The notifier of that name. Raises PluginError."""
    maker = load(NOTIFIERS, name)
    try:
        made = maker()
    except Exception as error:  # a plugin may raise anything
        raise PluginError(
            f"notifier {name} cannot be made: {type(error).__name__}", hint="its package's documentation says more"
        ) from error
    if not callable(getattr(made, "send", None)):
        raise PluginError(f"notifier {name} is none: {type(made).__name__} has no send", hint="see docs/plugins.md")
    found: Notifier = made
    return found


def split_target(target: str) -> tuple[str, str]:
    """The notifier's name and the reference of a target: ``pager=file:PATH``, or ``file:PATH`` for the usual one."""
    name, equals, reference = target.partition("=")
    if equals and name.isidentifier():
        return name, reference
    return USUAL, target
