"""What the daemon owes to whoever operates it: signals, reloads, and signs of life for the service manager.

Nothing in here decides about plans. What fails is said, and the daemon goes on without it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sidestep.autopilot.alerts_out_send import AlertsOut
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.loop import ControlLoop, Parts
from sidestep.autopilot.metrics_server import MetricsServer
from sidestep.autopilot.notify import Notifier
from sidestep.autopilot.notify_pulse import Pulse
from sidestep.autopilot.reload import ACTOR, Holder, Reloader
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec, Level, Policy

Start = Callable[[Coroutine[Any, Any, None], str], None]

#: seconds beyond the interval and the oracle's deadline that a round of the loop may take; planning is the rest
GRACE: Final = 60.0


class Operation:
    """Made with the loop; ``begun`` until the end, ``ready`` once the socket answers.

    ``holders`` go by the fleet file beside the loop's parts, ``rethink`` takes its policy. ``held`` is the
    level that the command line fixed, "" for none; ``metrics`` is where they are served. ``again`` reads
    again whom to trust and tries refused hosts, and returns how many; ``end`` ends the daemon.
    """

    def __init__(
        self,
        parts: Parts,
        loop: ControlLoop,
        *,
        holders: Sequence[Holder],
        rethink: Callable[[Policy], None],
        held: str,
        metrics: str,
        again: Callable[[], int],
        end: Callable[[], None],
        environ: MutableMapping[str, str] = os.environ,
    ) -> None:
        self._parts, self._loop, self._log = parts, loop, parts.log
        self._again, self._end = again, end
        self._rethink = rethink
        self._reloader = Reloader(
            parts.fleet,
            (parts.world, parts.proposals, loop, *holders, self),
            log=parts.log,
            set_level=self._set_level,
            held=held,
        )
        loop.notices = self._reloader.notices
        self._listen = metrics
        self._watchers: list[Callable[[Picture], None]] = []
        self._alerts = (
            AlertsOut(parts.fleet, troubles=parts.world.troubles, clock=parts.clock, report=self._log.told("error"))
            if parts.fleet.alerts.targets
            else None
        )
        self._reloads: set[asyncio.Task[None]] = set()
        self._notifier = Notifier.of(environ)
        self.pulse = Pulse(
            self._notifier,
            rounds=lambda: loop.rounds,
            allowance=parts.fleet.interval + parts.fleet.oracle.deadline + GRACE,
            status=lambda: status_of(parts, loop),
            clock=parts.clock,
            report=lambda text: parts.log.say("error", text),
        )

    @asynccontextmanager
    async def begun(self, start: Start) -> AsyncIterator[Operation]:
        """From here signals are heard and the service manager is told; ``start`` begins background work.

        SIGTERM and SIGINT end the daemon; SIGHUP reads the fleet file again, and tries refused hosts
        again with new known hosts and ssh_config.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        start(self.pulse.run(), "signs of life")
        self._hook()
        served = await self._serve_metrics() if self._listen else None
        if self._alerts is not None:
            self._watchers.append(self._alerts.look)
            start(self._alerts.run(), "alerts")
        try:
            yield self
        finally:
            if served is not None:
                await served.aclose()
            for task in self._reloads:
                task.cancel()
            await asyncio.gather(*self._reloads, return_exceptions=True)
            self._notifier.close()

    def watch(self, look: Callable[[Picture], None]) -> None:
        """Show ``look`` every new picture, after the consoles."""
        self._watchers.append(look)

    def ready(self) -> None:
        """The socket answers."""
        self.pulse.ready()

    def stopping(self) -> None:
        """The end begins."""
        self.pulse.stopping()

    def switch(self, fleet: FleetSpec) -> None:
        """Have chances judged by the new policy."""
        self._rethink(fleet.policy)

    def _hook(self) -> None:
        """Have every new picture shown to whoever watches in here, after the consoles."""
        publish = self._loop.publish

        def published() -> None:
            publish()
            if (picture := self._loop.picture) is not None:
                for watch in self._watchers:
                    watch(picture)

        self._loop.publish = published

    async def _serve_metrics(self) -> MetricsServer | None:
        from sidestep.autopilot.metrics import Metrics  # noqa: PLC0415 - 70 ms that most daemons need not spend

        metrics = Metrics(self._parts, self._loop)
        server = MetricsServer(self._listen, metrics.render)
        try:
            await server.start()
        except OSError as error:
            self._log.say("error", f"metrics are not served at {self._listen}: {error.strerror or error}")
            return None
        self._watchers.append(metrics.look)
        who = "" if server.local else "; whoever reaches this address can read them"
        self._log.say("daemon", f"metrics at http://{self._listen}/metrics{who}")
        return server

    def _hung_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload(), name="reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        self.pulse.reloading()
        try:
            await self._reloader.reload()
            if self._alerts is not None:
                self._alerts.forget()
            said = f"told to read again whom to trust; trying {self._again()} refused hosts again"
            self._log.act("reload", said, actor=ACTOR, always=True)
        except SidestepError as error:
            self._log.say("error", str(error))
        except Exception as error:  # noqa: BLE001 - the supervisor of reloads: the daemon goes on as it was
            self._log.say("error", f"reload failed: {type(error).__name__}: {error}")
        finally:
            self.pulse.reloaded()

    def _set_level(self, level: Level) -> None:
        said = f"level {self._loop.level} -> {level}"
        self._log.act("level", f"{said}: the fleet file says so", actor=ACTOR, subject="fleet", detail=said)
        self._loop.level = level


def status_of(parts: Parts, loop: ControlLoop) -> str:
    """How the fleet is, in a line."""
    states = Counter(map(str, parts.world.states().values()))
    ready, count = states.pop("READY", 0), len(parts.fleet.hosts)
    others = "".join(f", {number} {state}" for state, number in sorted(states.items()))
    runs = "; a plan runs" if parts.runs.running else ""
    trouble = f"; {parts.journal.trouble}" if parts.journal.trouble else ""
    return f"level {loop.level}: {ready} of {count} hosts READY{others}{runs}{trouble}"
