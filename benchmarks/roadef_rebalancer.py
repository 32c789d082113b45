"""One instance for ReBalancer: run by an interpreter that has it, prints one JSON object.

``python roadef_rebalancer.py FOLDER NAME SECONDS`` with Python 3.12, ``rebalancer`` and numpy.
It is told capacity (after the moves, and during them in transient resources), at most one
process of a service on a machine and, as its goal, the load above the safety level: each
resource as a capacity goal with the resource's weight; then few moves. Spread, dependencies
and balances it is not told; the checker says what its answer breaks.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from rebalancer import ProblemSolver, specs

from benchmarks.roadef_files import Instance, load


def problem_of(instance: Instance) -> Any:
    """The instance as ReBalancer's problem: objects are processes, containers machines."""
    machines, resources = instance.capacity.shape
    names = [f"p{at}" for at in range(len(instance.initial))]
    hosts = [f"m{at}" for at in range(machines)]
    solver = ProblemSolver(service_name="benchmark", service_scope="benchmark")
    solver.set_object_name("process")
    solver.set_container_name("machine")
    placed: dict[str, list[str]] = {host: [] for host in hosts}
    for name, at in zip(names, instance.initial.tolist(), strict=True):
        placed[hosts[at]].append(name)
    solver.set_assignment(placed)
    for resource in range(resources):
        need = instance.requirement[:, resource].astype(float).tolist()
        for kind, limits in (("hard", instance.capacity), ("safe", instance.safety)):
            solver.add_object_dimension(f"{kind}{resource}", dict(zip(names, need, strict=True)))
            limit = limits[:, resource].astype(float).tolist()
            solver.add_container_dimension(f"{kind}{resource}", dict(zip(hosts, limit, strict=True)))
        hard: dict[str, Any] = {"name": f"hard{resource}", "scope": "machine", "dimension": f"hard{resource}"}
        if instance.transient[resource]:
            hard["definition"] = "DURING"
        solver.add_constraint(specs.ConstraintSpec(capacitySpec=specs.CapacitySpec(**hard)))
    services: dict[str, list[str]] = {}
    for name, service in zip(names, instance.service.tolist(), strict=True):
        services.setdefault(f"s{service}", []).append(name)
    solver.add_partition("service", {key: rows for key, rows in services.items() if len(rows) > 1})
    apart = specs.GroupCountSpec(name="conflict", scope="machine", partitionName="service", limit={"globalLimit": 1})
    solver.add_constraint(specs.ConstraintSpec(groupCountSpec=apart))
    for resource, weight in enumerate(instance.load_weight.tolist()):
        safe = specs.CapacitySpec(name=f"safe{resource}", scope="machine", dimension=f"safe{resource}")
        solver.add_goal(specs.GoalSpec(capacitySpec=safe), float(weight))
    solver.add_goal_boundary()
    few = specs.MinimizeMovementSpec(name="few", scope="machine", dimension="process_count", doNotNormalize=True)
    solver.add_goal(specs.GoalSpec(minimizeMovementSpec=few), 1.0)
    return solver


def main() -> None:
    """Solve and print the assignment and CPU seconds."""
    folder, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    instance = load(folder, name)
    begun = time.process_time()
    solver = problem_of(instance)
    moves = [
        specs.MoveTypeSpec(singleMoveTypeSpec=specs.SingleMoveTypeSpec()),
        specs.MoveTypeSpec(swapMoveTypeSpec=specs.SwapMoveTypeSpec()),
    ]
    local = specs.LocalSearchSolverSpec(moveTypeList=moves, solveTime=max(1, int(seconds)))
    solver.add_solver(specs.SolverSpec(localSearchSolverSpec=local))
    answer = solver.solve()
    placed = answer.assignment if hasattr(answer, "assignment") else answer["assignment"]
    assignment = [0] * len(instance.initial)
    if len(placed) == len(assignment) and "p0" in placed:
        for process, machine in placed.items():
            assignment[int(process[1:])] = int(machine[1:])
    else:
        for machine, processes in placed.items():
            for process in processes:
                assignment[int(process[1:])] = int(machine[1:])
    print(json.dumps({"assignment": assignment, "cpu": time.process_time() - begun}))


if __name__ == "__main__":
    main()
