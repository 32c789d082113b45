"""The usual notifier: Apprise (the extra ``[alerts]``), which knows some hundred services by their addresses."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sidestep.fleet.errors import SidestepError
from sidestep.plugins.notifiers import Notice


class AppriseNotifier:
    """Implements ``Notifier``. Apprise's own log is switched off, for it may show addresses."""

    def send(self, addresses: Sequence[str], notice: Notice) -> None:
        """Tell all addresses. Blocks; raises SidestepError."""
        try:
            import apprise  # noqa: PLC0415 - an extra
        except ImportError:
            raise SidestepError("Apprise is not installed", hint="pip install 'sidestep[alerts]'") from None
        logging.getLogger("apprise").disabled = True
        out = apprise.Apprise()
        for number, target in enumerate(addresses, 1):
            if not out.add(target):
                raise SidestepError(
                    f"line {number} is no address that Apprise knows", hint="see Apprise's list of URLs"
                )
        kind = apprise.NotifyType.SUCCESS if notice.over else apprise.NotifyType.WARNING
        if not out.notify(title=notice.title, body=notice.body or notice.title, notify_type=kind):
            raise SidestepError("the message was not taken")
