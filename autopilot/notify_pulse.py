"""Signs of life for the service manager: sent while the control loop goes round, and no longer.

Pings come from a task beside the loop. An event loop that stands still sends none, since nothing
runs; a control loop that hangs in one tick sends none, since its rounds are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidestep.autopilot.notify import Notifier
from sidestep.autopilot.world_clock import Clock

#: seconds between two looks without a watchdog, and at most with one
LOOK: Final = 5.0
#: pings within the time that the watchdog waits
PINGS: Final = 4
#: seconds that each look asks for while the daemon starts
STARTING: Final = 60.0


class Pulse:
    """``run`` for as long as the daemon lives.

    ``rounds`` counts the control loop's rounds. One may take ``allowance`` seconds, the pause
    before the next one included. ``status`` is a line on how the fleet is.
    """

    def __init__(
        self,
        notifier: Notifier,
        *,
        rounds: Callable[[], int],
        allowance: float,
        status: Callable[[], str],
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._notifier, self._rounds, self._status = notifier, rounds, status
        self.allowance, self._clock, self._report = allowance, clock, report
        self._seen, self._since = rounds(), clock.monotonic()
        self._serving = self._ending = self._stuck = False

    @property
    def period(self) -> float:
        """Seconds between two looks."""
        watchdog = self._notifier.watchdog
        return min(LOOK, watchdog / PINGS) if watchdog else LOOK

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            if self._notifier.listening:
                self.look()
            await self._clock.sleep(self.period)

    def ready(self) -> None:
        """The daemon serves; from now on the loop's rounds count."""
        self._serving, self._since = True, self._clock.monotonic()
        self._notifier.ready(self._status())

    def reloading(self) -> None:
        """A reload begins; ``reloaded`` ends it. While the daemon starts, the manager waits for its ``ready``."""
        if self._serving:
            self._notifier.reloading("reading the fleet file")

    def reloaded(self) -> None:
        """The reload is over, however it ended."""
        if self._serving:
            self._notifier.ready(self._status())

    def stopping(self) -> None:
        """The daemon ends: the running step is finished or taken back, however the loop is."""
        self._ending = True
        self._notifier.stopping("ending: the running step is finished or taken back; shards keep running")

    def look(self) -> None:
        """Say one thing: that the start goes on, that all is well, or nothing."""
        now, rounds = self._clock.monotonic(), self._rounds()
        if rounds != self._seen:
            self._seen, self._since = rounds, now
        if self._ending:
            self._notifier.alive()
            return
        if not self._serving:
            self._notifier.extend(STARTING)
            return
        late = now - self._since
        if late > self.allowance:
            self._complain(late)
            return
        self._stuck = False
        self._notifier.status(self._status())
        if self._notifier.watchdog:
            self._notifier.alive()

    def _complain(self, late: float) -> None:
        if self._stuck:
            return
        self._stuck = True
        then = "its watchdog is told nothing more and will start a new daemon" if self._notifier.watchdog else ""
        self._notifier.status(f"the control loop has not gone round for {late:.0f} s")
        self._report(f"the control loop has not gone round for {late:.0f} s" + (f": {then}" if then else ""))
