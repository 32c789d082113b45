"""The challenge's rules, written from its problem definition in plain integers.

Shares no code with the optimiser, so that a mistake there cannot hide here: one pass over the
processes with lists and sets, exact at any size. The names are those of the definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.roadef_files import Instance


@dataclass(frozen=True)
class Verdict:
    """What an assignment costs and breaks; ``broken`` names at most a few of each kind."""

    load: int
    balance: int
    process_moves: int
    service_moves: int
    machine_moves: int
    moved: int
    broken: tuple[str, ...]

    @property
    def cost(self) -> int:
        """The objective: every part with its weight."""
        return self.load + self.balance + self.process_moves + self.service_moves + self.machine_moves


def judge(instance: Instance, assignment: Sequence[int]) -> Verdict:
    """Price an assignment and list the constraints that it breaks."""
    machines, resources = instance.capacity.shape
    placed = [int(machine) for machine in assignment]
    if len(placed) != len(instance.initial) or not all(0 <= machine < machines for machine in placed):
        return Verdict(0, 0, 0, 0, 0, 0, ("assignment: not one machine of the instance for each process",))
    before = instance.initial.tolist()
    requirement = instance.requirement.tolist()
    usage = [[0] * resources for _ in range(machines)]
    left = [[0] * resources for _ in range(machines)]  # by processes that went elsewhere
    for process, machine in enumerate(placed):
        for resource in range(resources):
            usage[machine][resource] += requirement[process][resource]
            if machine != before[process]:
                left[before[process]][resource] += requirement[process][resource]
    broken = [*_capacity(instance, usage, left), *_services(instance, placed)]
    load = balance = 0
    for machine, used in enumerate(usage):
        limit, level = instance.capacity[machine].tolist(), instance.safety[machine].tolist()
        for resource, weight in enumerate(instance.load_weight.tolist()):
            load += weight * max(0, used[resource] - level[resource])
        for first, second, target, weight in instance.balances:
            balance += weight * max(0, target * (limit[first] - used[first]) - (limit[second] - used[second]))
    return Verdict(load, balance, *_moves(instance, placed), broken=tuple(broken))


def lower_bound(instance: Instance) -> int:
    """No assignment costs less: load and balance of all machines taken as one."""
    need, room = instance.requirement.sum(axis=0).tolist(), instance.capacity.sum(axis=0).tolist()
    level = instance.safety.sum(axis=0).tolist()
    weights = instance.load_weight.tolist()
    bound = sum(weight * max(0, used - safe) for weight, used, safe in zip(weights, need, level, strict=True))
    for first, second, target, weight in instance.balances:
        bound += weight * max(0, target * (room[first] - need[first]) - (room[second] - need[second]))
    return int(bound)


def _capacity(instance: Instance, usage: list[list[int]], left: list[list[int]]) -> list[str]:
    """Capacity, and transient use: a process that moves is counted on both machines."""
    found = []
    for machine, limits in enumerate(instance.capacity.tolist()):
        for resource, limit in enumerate(limits):
            used = usage[machine][resource]
            if instance.transient[resource]:
                used += left[machine][resource]
            if used > limit:
                found.append(f"capacity: machine {machine}, resource {resource}: {used} of {limit}")
    return found[:5]


def _services(instance: Instance, placed: list[int]) -> list[str]:
    """Conflict, spread and dependency."""
    conflicts, spreads, needs = [], [], []
    taken: set[tuple[int, int]] = set()
    locations: dict[int, set[int]] = defaultdict(set)
    areas: dict[int, set[int]] = defaultdict(set)
    where, area = instance.location.tolist(), instance.neighbourhood.tolist()
    for process, (service, machine) in enumerate(zip(instance.service.tolist(), placed, strict=True)):
        if (service, machine) in taken:
            conflicts.append(f"conflict: process {process}: service {service} is on machine {machine} already")
        taken.add((service, machine))
        locations[service].add(where[machine])
        areas[service].add(area[machine])
    for service, least in enumerate(instance.spread.tolist()):
        if len(locations[service]) < least:
            spreads.append(f"spread: service {service}: in {len(locations[service])} of {least} locations")
        for other in instance.depends[service]:
            for missing in sorted(areas[service] - areas[other])[:1]:
                needs.append(f"dependency: service {service} without {other} in neighbourhood {missing}")
    return [*conflicts[:5], *spreads[:5], *needs[:5]]


def _moves(instance: Instance, placed: list[int]) -> tuple[int, int, int, int]:
    """Weighted move costs of processes, services and machines, and how many processes moved."""
    per_process, per_service, per_machine = instance.weights
    of_service: dict[int, int] = defaultdict(int)
    processes = machines = moved = 0
    for process, (old, new) in enumerate(zip(instance.initial.tolist(), placed, strict=True)):
        machines += int(instance.machine_move[old, new])
        if old != new:
            moved += 1
            processes += int(instance.process_move[process])
            of_service[int(instance.service[process])] += 1
    most = max(of_service.values(), default=0)
    return per_process * processes, per_service * most, per_machine * machines, moved
