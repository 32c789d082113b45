"""``sidestep.function``, ``sidestep.submit``, ``sidestep.map`` and ``sidestep.workers``: calls on the fleet's hosts.

Everything heavy is imported when the first call is made; a module that only decorates costs nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: the attribute by which seats find what was decorated; equal to ``seat.PLAIN``
_PLAIN = "__sidestep_plain__"


def function(plain: Callable[P, R]) -> Callable[P, R]:
    """Mark a function for the fleet: called as before it runs here, by its ``submit`` it runs on a host."""

    @functools.wraps(plain)
    def here(*args: P.args, **kwargs: P.kwargs) -> R:
        return plain(*args, **kwargs)

    marked: Any = here
    setattr(marked, _PLAIN, plain)
    marked.submit = functools.partial(submit, here)
    return here


class Workers:
    """Hosts that run functions, until closed. ``hosts`` and ``wishes`` hold for every call that is made here.

    ``wishes`` are those of ``backends.functions.job.Wishes``: copies, shard, every, replicas, free.
    """

    def __init__(
        self, fleet: str | Path | None = None, hosts: Sequence[str] = (), *, python: str = "python3", **wishes: Any
    ) -> None:
        self._fleet = Path(fleet or os.environ.get("SIDESTEP_FLEET") or _default())
        self._hosts, self._python, self._wishes = tuple(hosts), python, wishes
        self._loop = asyncio.new_event_loop()
        self._opened: Future[Any] = Future()
        self._closing: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="sidestep-workers", daemon=True)

    def open(self) -> Self:
        """Start the workers. Raises SidestepError."""
        self._thread.start()
        self._opened.result()
        return self

    def submit(self, called: Callable[..., R], *args: Any, **kwargs: Any) -> Future[R]:
        """Run a call on a host; the future gives its result, or raises what it raised."""
        from sidestep.autopilot.functions.calling import call_of, value_of  # noqa: PLC0415
        from sidestep.backends.functions.job import Wishes  # noqa: PLC0415

        call, wishes = call_of(called, args, kwargs), Wishes(**self._wishes)
        conductor = self._opened.result()

        async def run() -> Any:
            return value_of(await conductor.call(call, wishes))

        return self._begin(run())

    def map(self, called: Callable[[Any], R], values: Iterable[Any]) -> list[R]:
        """The results for every value, in order; raises the first exception in that order."""
        return [future.result() for future in [self.submit(called, value) for value in values]]

    def close(self) -> None:
        """End the workers and everything on them."""
        if self._closing is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _begin(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        from sidestep.autopilot.config_file import load_fleet  # noqa: PLC0415
        from sidestep.autopilot.functions.session import session  # noqa: PLC0415

        self._closing = asyncio.Event()
        try:
            fleet = load_fleet(self._fleet)
            async with session(fleet, self._hosts, python=self._python) as conductor:
                self._opened.set_result(conductor)
                await self._closing.wait()
        except Exception as error:  # whatever it is, whoever waits for us is told
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_shared: list[Workers] = []
_turn = threading.Lock()


def workers(*arguments: Any, **options: Any) -> Workers:
    """Workers of one's own: ``with sidestep.workers("fleet.toml", ["web1"]) as hosts: hosts.submit(f, 1)``."""
    return Workers(*arguments, **options)


def submit(called: Callable[..., R], *args: Any, **kwargs: Any) -> Future[R]:
    """Run a call on a host of the fleet in the configuration folder, or in ``$SIDESTEP_FLEET``.

    The first call starts workers on all its hosts; they end with this process, however it ends.
    """
    return _common().submit(called, *args, **kwargs)


def map_(called: Callable[[Any], R], values: Iterable[Any]) -> list[R]:
    """The results for every value, in order."""
    return _common().map(called, values)


def _common() -> Workers:
    with _turn:
        if not _shared:
            _shared.append(Workers(python=os.environ.get("SIDESTEP_PYTHON", "python3")).open())
            atexit.register(_shared[0].close)
        return _shared[0]


def _default() -> Path:
    from sidestep.autopilot.paths import config_path  # noqa: PLC0415

    return config_path()
