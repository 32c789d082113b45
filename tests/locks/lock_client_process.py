"""A client that counts in a shared storage under a lock, and writes down what it saw: ``... CONFIG_AS_JSON``.

Its clock stands and runs as it is told. In the rounds named in ``stops`` it stops itself at the worst moment,
after the check and before the write, until somebody continues it; in ``drops`` it loses its connection there.
With ``recheck`` it checks once more after that, and with ``until`` it goes on after its rounds until that file exists.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sidestep.locks import Fenced, FileFence, LockError, LockLost, Locks, boottime
from sidestep.locks.client import Lock


class Client:
    def __init__(self, config: dict[str, Any]) -> None:
        self.name, self.config = config["client"], config
        self.folder = Path(config["folder"])
        self.fence = FileFence(self.folder / "fence")
        self.stopped: set[int] = set()
        self.seen = (self.folder / f"{self.name}.seen").open("a", encoding="utf-8")
        offset, rate = config.get("offset", 0.0), config.get("rate", 1.0)
        self.locks = Locks(
            config["socket"],
            holder=self.name,
            clock=lambda: offset + rate * boottime(),
            margin=config.get("margin", 0.1),
        )

    def run(self) -> None:
        number = 0
        while number < self.config["rounds"] or self.wanted():
            number += self.round(number)
        self.locks.close()
        self.say("finished", "", 0)

    def wanted(self) -> bool:
        return "until" in self.config and not Path(self.config["until"]).exists()

    def round(self, number: int) -> bool:
        """One acquire and some writes; whether it wrote at least once, or was stopped as planned."""
        asked = time.monotonic()
        try:
            lock = self.locks.acquire("counter", ttl=self.config["ttl"], wait=30.0)
        except LockError as error:
            self.say("failed", str(error), 0)
            return False
        self.note("grant", token=lock.token, asked=asked, got=time.monotonic())
        self.say("granted", "", lock.token)
        written = 0
        try:
            for turn in range(self.config["writes"]):
                before = self.read(lock)
                self.check(lock)
                self.hazard(number, turn)
                if self.config.get("recheck"):
                    self.check(lock)
                self.write(lock, before)
                written += 1
            self.check(lock)
        except (LockLost, Fenced) as error:
            self.say("lost" if isinstance(error, LockLost) else "fenced", str(error), lock.token)
        finally:
            lock.release()
        return number in self.stopped if number in self.config.get("stops", []) else written > 0

    def read(self, lock: Lock) -> int:
        with self.fence.admitted(lock.name, lock.token):
            path = self.folder / "counter"
            return int(path.read_text()) if path.exists() else 0

    def check(self, lock: Lock) -> None:
        began, ok = time.monotonic(), False
        try:
            lock.check()
            ok = True
        finally:
            self.note("check", token=lock.token, ok=ok, began=began, ended=time.monotonic())

    def hazard(self, number: int, turn: int) -> None:
        if turn != 0:
            return
        if number in self.config.get("drops", []):
            self.locks.link.drop()
        if number in self.config.get("stops", []) and number not in self.stopped:
            self.stopped.add(number)
            self.say("stops", "", 0)
            os.kill(os.getpid(), signal.SIGSTOP)

    def write(self, lock: Lock, before: int) -> None:
        with self.fence.admitted(lock.name, lock.token):
            fresh = self.folder / f"{self.name}.new"
            fresh.write_text(str(before + 1))
            fresh.replace(self.folder / "counter")
            with (self.folder / "storage.log").open("a", encoding="utf-8") as log:
                row = {
                    "client": self.name,
                    "name": lock.name,
                    "token": lock.token,
                    "before": before,
                    "after": before + 1,
                }
                log.write(json.dumps(row) + "\n")

    def note(self, kind: str, **fields: Any) -> None:
        self.seen.write(json.dumps({"kind": kind, "client": self.name, "name": "counter", **fields}) + "\n")
        self.seen.flush()

    def say(self, event: str, text: str, token: int) -> None:
        print(json.dumps({"client": self.name, "event": event, "text": text, "token": token}), flush=True)


if __name__ == "__main__":
    Client(json.loads(sys.argv[1])).run()
