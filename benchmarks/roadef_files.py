"""Instances of the machine reassignment problem in the format that the challenge published.

``model_NAME.txt`` holds whitespace-separated integers: resources (transient, load weight),
machines (neighbourhood, location, capacities, safety capacities, move costs to every machine),
services (spread, number of dependencies, dependencies), processes (service, requirements, move
cost), balances (two resources, target, and on a line of its own the weight), and the weights of
moves of processes, services and machines. ``assignment_NAME.txt`` holds a machine per process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError

I64 = NDArray[np.int64]

_NAME = re.compile(r"model_(\w+)\.txt")


@dataclass(frozen=True)
class Instance:
    """One instance, in the words of the challenge: machines M, processes P, resources R, services S."""

    name: str
    transient: I64  # (R,)
    load_weight: I64  # (R,)
    neighbourhood: I64  # (M,)
    location: I64  # (M,)
    capacity: I64  # (M, R)
    safety: I64  # (M, R)
    machine_move: I64  # (M, M)
    spread: I64  # (S,)
    depends: tuple[tuple[int, ...], ...]  # of each service on services
    service: I64  # (P,)
    requirement: I64  # (P, R)
    process_move: I64  # (P,)
    balances: tuple[tuple[int, int, int, int], ...]  # resource, resource, target, weight
    weights: tuple[int, int, int]  # of moves of processes, services, machines
    initial: I64  # (P,)


class Tokens:
    """The integers of a file one after the other; complains with the line of the one at fault."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path.name} cannot be read: {error}", hint="give the challenge's files") from error
        words = self.text.split()
        try:
            self.values: I64 = np.array(words, dtype=np.int64)
        except (ValueError, OverflowError):
            bad = next(i for i, word in enumerate(words) if not re.fullmatch(r"-?\d{1,18}", word))
            self.at = bad
            raise self.error("number", words[bad], "is no integer") from None
        self.at = 0

    def line(self) -> int:
        """The line of the integer at which reading stands."""
        seen = 0
        number = 0
        for number, line in enumerate(self.text.splitlines(), 1):
            seen += len(line.split())
            if seen > self.at:
                return number
        return number

    def error(self, key: str, value: object, message: str) -> UsageError:
        """An error at this place."""
        said = "" if value is None else f" = {value!r}"
        return UsageError(
            f"{self.path.name}:{self.line()}: {key}{said}: {message}", hint="give the challenge's format, whole"
        )

    def take(self, count: int, what: str, low: int = 0, high: int | None = None) -> I64:
        """The next ``count`` integers, each within ``low`` to ``high``."""
        found = self.values[self.at : self.at + count]
        if len(found) < count:
            self.at = max(0, len(self.values) - 1)
            raise self.error(what, None, f"the file ends; {count} integers were to come, {len(found)} did")
        bad = (found < low) | (found > high if high is not None else False)
        if bad.any():
            self.at += int(bad.argmax())
            allowed = f"{low} to {high}" if high is not None else f"{low} or more"
            raise self.error(what, int(self.values[self.at]), f"not within {allowed}")
        self.at += count
        return found

    def one(self, what: str, low: int = 0, high: int | None = None) -> int:
        """The next integer."""
        return int(self.take(1, what, low, high)[0])

    def end(self) -> None:
        """Complain if anything is left."""
        if self.at < len(self.values):
            raise self.error("rest", int(self.values[self.at]), "more than the counts before announce")


def names_in(folder: Path) -> list[str]:
    """Names of the instances in a folder whose assignment is there too."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="give --data the folder with model_NAME.txt")
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    names = sorted(match[1] for match in found if match)
    names = [name for name in names if (folder / f"assignment_{name}.txt").is_file()]
    if not names:
        raise UsageError(f"{folder} holds no instance", hint="it needs model_NAME.txt and assignment_NAME.txt")
    return names


def load(folder: Path, name: str) -> Instance:
    """Read one instance; raises ``UsageError`` with file, line and value."""
    file = Tokens(folder / f"model_{name}.txt")
    most = len(file.values)
    resources = file.one("number of resources", 1, most)
    kinds = file.take(2 * resources, "resource").reshape(resources, 2)
    machines = file.one("number of machines", 1, most)
    table = file.take(machines * (2 + 2 * resources + machines), "machine")
    table = table.reshape(machines, -1)
    services = file.one("number of services", 1, most)
    spread, depends = np.zeros(services, np.int64), []
    for service in range(services):
        spread[service] = file.one("spread")
        count = file.one("number of dependencies", 0, services)
        depends.append(tuple(file.take(count, "dependency", 0, services - 1).tolist()))
    processes = file.one("number of processes", 1, most)
    rows = file.take(processes * (resources + 2), "process").reshape(processes, -1)
    if rows[:, 0].max() >= services:
        raise file.error("process", int(rows[:, 0].max()), f"a service that is not there; there are {services}")
    balances = []
    for _ in range(file.one("number of balances", 0, most)):
        first, second = file.take(2, "balance resource", 0, resources - 1).tolist()
        balances.append((first, second, file.one("balance target"), file.one("balance weight")))
    weights = file.take(3, "weight of moves").tolist()
    file.end()
    places = Tokens(folder / f"assignment_{name}.txt")
    initial = places.take(processes, "machine", 0, machines - 1)
    places.end()
    safety = table[:, 2 + resources : 2 + 2 * resources]
    return Instance(
        name, kinds[:, 0], kinds[:, 1], table[:, 0], table[:, 1], table[:, 2 : 2 + resources], safety,
        table[:, 2 + 2 * resources :], spread, tuple(depends), rows[:, 0], rows[:, 1:-1], rows[:, -1],
        tuple(balances), (weights[0], weights[1], weights[2]), initial,
    )  # fmt: skip
