"""Hold: everything new stops at once, whoever says so and whatever else is stuck.

The hold is a file in the state folder, and nothing else: a person, a script or a cron job can
make it without us, it outlives every process, and to look whether it is there needs no loop and
no lock. The executor looks before each step that begins something new.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import scrub

#: the file's name in the state folder
NAME: Final = "hold"
#: whose doing a hold is that came as SIGUSR1
SIGNAL: Final = "signal"
#: seconds between two looks at the file by the watch
PERIOD: Final = 0.25
_LARGEST: Final = 4096
_REASON: Final = 500


class Hold:
    """The hold of one fleet. Safe for several threads and processes.

    Where the file cannot be made (a full disk), the hold is kept in memory: it holds all the same,
    until it is released or the daemon ends.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = folder / NAME, clock
        self._kept = ""

    def why(self) -> str:
        """Why everything is held ("held by ...: ..."), or "". Never raises: what cannot be read, holds."""
        try:
            with self.path.open("rb") as file:
                return _said(file.read(_LARGEST))
        except FileNotFoundError:
            return self._kept
        except OSError as error:
            return f"held: {self.path}: {error.strerror}"

    def begin(self, *, actor: str, reason: str = "") -> bool:
        """Hold everything; False if it was held already. Never raises."""
        if self.why():
            return False
        entry = {"actor": scrub(actor), "reason": scrub(reason, _REASON), "time": round(self._clock(), 3)}
        text = json.dumps(entry, ensure_ascii=True) + "\n"
        try:
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return False
        except OSError:
            self._kept = _said(text.encode())
            return True
        with contextlib.suppress(OSError):  # an empty file holds, too
            os.write(number, text.encode())
            os.fsync(number)
        os.close(number)
        return True

    def end(self) -> bool:
        """Release; False if nothing was held. Raises SidestepError if the file cannot be removed."""
        before, self._kept = bool(self._kept), ""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return before
        except OSError as error:
            raise SidestepError(f"{self.path}: {error.strerror}", hint="remove that file by hand") from error
        return True


def _said(data: bytes) -> str:
    """What a hold file says: ours, or whatever somebody wrote or did not write into it."""
    try:
        found = json.loads(data)
        actor, reason = str(found["actor"]), str(found["reason"])
    except (ValueError, TypeError, KeyError, RecursionError):
        first = data.decode("utf-8", "replace").strip().partition("\n")[0]
        actor, reason = "the file", first
    text = f"held by {scrub(actor)}"
    return f"{text}: {scrub(reason, _REASON)}" if reason else text


class HoldWatch:
    """A thread that turns SIGUSR1 into a hold, and tells when a hold begins or ends.

    It needs nothing of the loop: while that is stuck, the hold is there all the same. ``told`` is
    called in the thread with what there is to say, "" for a release.
    """

    def __init__(self, hold: Hold, told: Callable[[str], None]) -> None:
        self._hold, self._told = hold, told
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hold", daemon=True)
        self._before: set[signal.Signals] = set()
        self._handler: object = None
        self._signals = threading.current_thread() is threading.main_thread()

    def start(self) -> None:
        """Listen from now on. The signal is heard only if this is the main thread."""
        if self._signals:
            # blocked here and so in every thread of ours, it waits for ours to take it, whatever runs; the handler
            # is for threads that are older than this and not ours
            self._handler = signal.signal(signal.SIGUSR1, lambda *_: self._signalled())
            self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # type: ignore[assignment]
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is held stays held."""
        self._end.set()
        self._thread.join()
        if self._signals:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
            signal.signal(signal.SIGUSR1, self._handler)  # type: ignore[arg-type]

    def _run(self) -> None:
        said = ""  # a hold that was there before is told, too
        while not self._end.is_set():
            if self._signals:
                if signal.sigtimedwait({signal.SIGUSR1}, PERIOD) is not None:
                    self._signalled()
            else:
                self._end.wait(PERIOD)
            why = self._hold.why()
            if why != said:
                said = why
                try:
                    self._told(why)
                except Exception as error:  # noqa: BLE001 - the supervisor of telling: the hold holds untold
                    print(f"hold: {error}", file=sys.stderr, flush=True)

    def _signalled(self) -> None:
        self._hold.begin(actor=SIGNAL, reason="SIGUSR1")
