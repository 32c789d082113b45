"""Peers in the same run: goals in turn by a greedy in the manner of Cruise Control, and ReBalancer."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.roadef_files import I64, Instance
from sidestep.fleet.errors import UsageError

#: destinations that are tried for a process before it stays
_TRIES = 16
#: seconds beyond its own limit after which ReBalancer is given up
_GRACE = 600


@dataclass
class Board:
    """Usage and places of one instance, and whether a single move breaks a hard goal."""

    instance: Instance
    place: I64
    usage: I64
    left: I64
    on: set[tuple[int, int]]
    locations: dict[tuple[int, int], int]
    areas: dict[tuple[int, int], int]
    needs: tuple[tuple[int, ...], ...]
    users: list[list[int]]

    @classmethod
    def of(cls, instance: Instance) -> Board:
        """The board as the instance begins."""
        place = instance.initial.copy()
        usage = np.zeros_like(instance.capacity)
        np.add.at(usage, place, instance.requirement)
        board = cls(instance, place, usage, np.zeros_like(usage), set(), {}, {}, instance.depends, [])
        board.users = [[] for _ in instance.depends]
        for service, others in enumerate(instance.depends):
            for other in others:
                board.users[other].append(service)
        for service, machine in zip(instance.service.tolist(), place.tolist(), strict=True):
            board._count(service, machine, 1)
        return board

    def _count(self, service: int, machine: int, step: int) -> None:
        (self.on.add if step > 0 else self.on.discard)((service, machine))
        for counts, group in ((self.locations, self.instance.location), (self.areas, self.instance.neighbourhood)):
            key = (service, int(group[machine]))
            counts[key] = counts.get(key, 0) + step

    def may(self, process: int, to: int) -> bool:
        """Whether a move keeps every hard goal."""
        instance, at, service = self.instance, int(self.place[process]), int(self.instance.service[process])
        if to == at or (service, to) in self.on:
            return False
        home = to == instance.initial[process]
        counted = np.where((instance.transient > 0) & home, 0, instance.requirement[process])
        held = self.usage[to] + self.left[to] * instance.transient
        if (held + counted > instance.capacity[to]).any():
            return False
        l1, l2 = int(instance.location[at]), int(instance.location[to])
        if l1 != l2:
            used = sum(1 for place in set(instance.location.tolist()) if self.locations.get((service, place), 0))
            used += (self.locations.get((service, l2), 0) == 0) - (self.locations[service, l1] == 1)
            if used < instance.spread[service]:
                return False
        n1, n2 = int(instance.neighbourhood[at]), int(instance.neighbourhood[to])
        if n1 == n2:
            return True
        if any(self.areas.get((other, n2), 0) == 0 for other in self.needs[service] if other != service):
            return False
        alone = self.areas[service, n1] == 1
        return not (alone and any(self.areas.get((user, n1), 0) for user in self.users[service] if user != service))

    def move(self, process: int, to: int) -> None:
        """Book a move."""
        instance, at, service = self.instance, int(self.place[process]), int(self.instance.service[process])
        need, home = instance.requirement[process], int(instance.initial[process])
        self.usage[at] -= need
        self.usage[to] += need
        self.left[home] += need * ((at == home) - (to == home))
        self._count(service, at, -1)
        self._count(service, to, 1)
        self.place[process] = to


def goal_by_goal(instance: Instance, seconds: float) -> tuple[list[int], float]:
    """One goal for each resource, by weight: machines above their safety level give processes away.

    The largest process that fits goes to the machine with most room below its safety level, and
    a move is refused if it lifts that machine above the level in a goal already dealt with.
    No goal counts moves. Returns the assignment and its CPU seconds.
    """
    begun = time.process_time()
    board = Board.of(instance)
    order = np.argsort(-instance.load_weight, kind="stable").tolist()
    for number, resource in enumerate(order):
        earlier = order[: number + 1]
        above = board.usage[:, resource] - instance.safety[:, resource]
        for machine in np.argsort(-above, kind="stable").tolist():
            if time.process_time() - begun > seconds:
                break
            _relieve(board, machine, resource, earlier, begun + seconds)
    return board.place.tolist(), time.process_time() - begun


def _relieve(board: Board, machine: int, resource: int, earlier: list[int], until: float) -> None:
    instance = board.instance
    here = np.flatnonzero(board.place == machine)
    for process in here[np.argsort(-instance.requirement[here, resource], kind="stable")].tolist():
        if board.usage[machine, resource] <= instance.safety[machine, resource] or time.process_time() > until:
            return
        after = board.usage[:, earlier] + instance.requirement[process, earlier]
        good = np.flatnonzero((after <= instance.safety[:, earlier]).all(axis=1))
        room = instance.safety[good, resource] - board.usage[good, resource]
        for to in good[np.argsort(-room, kind="stable")[:_TRIES]].tolist():
            if board.may(process, to):
                board.move(process, to)
                break


def rebalancer(python: Path, folder: Path, name: str, seconds: float) -> tuple[list[int], float]:
    """ReBalancer's assignment by an interpreter that has it, and CPU seconds of the whole process.

    Raises ``UsageError`` with the end of what it said if it fails.
    """
    script = Path(__file__).with_name("roadef_rebalancer.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    command = [str(python), str(script), str(folder), name, str(seconds)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=seconds * 4 + _GRACE, check=False
        )
        said = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError) as error:
        tail = "" if isinstance(error, (OSError, subprocess.TimeoutExpired)) else done.stderr[-300:]
        raise UsageError(f"ReBalancer gave no answer: {error} {tail}", hint="see --rebalancer-python") from error
    return said["assignment"], float(said["cpu"])
