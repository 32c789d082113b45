"""One life of the training process, from spawn to end, as the daemon sees it. Loads nothing heavy."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sidestep.fleet.errors import ProtocolError, SidestepError
from sidestep.forecasting.piped import Piped, spawned
from sidestep.forecasting.training import protocol

COMMAND: Final = (sys.executable, "-m", "sidestep.forecasting.training")
#: seconds that a trainer may take to load and to look at all candidates
START_DEADLINE: Final = 300.0


class TrainerLost(SidestepError):
    """The trainer ended, broke its protocol, refused its configuration or did not answer."""


class TrainingProcess(Piped):
    """A running trainer; every call is one request and its answer, one at a time. Its children die with it."""

    @classmethod
    async def spawn(
        cls, report: Callable[[str], None], command: Sequence[str] = COMMAND, env: Mapping[str, str] | None = None
    ) -> TrainingProcess:
        """Start a process; the first call must be ``Begin``. Raises OSError."""
        return cls(await spawned(command, env), "trainer", report)

    async def call(self, request: protocol.Request, deadline: float) -> protocol.Response:
        """Send a request and wait for its answer. Raises TrainerLost, also after ``deadline`` seconds: kill it then."""
        try:
            async with asyncio.timeout(deadline):
                return protocol.parse_response(await self.exchange(protocol.pack(request)))
        except TimeoutError as error:
            raise TrainerLost(f"the trainer did not answer in {deadline:g} s") from error
        except EOFError as error:
            raise TrainerLost(f"the trainer ended{await self.how()}") from error
        except ProtocolError as error:
            raise TrainerLost(str(error)) from error
