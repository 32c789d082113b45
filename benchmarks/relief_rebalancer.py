"""ReBalancer on one fleet file, run by its own Python: ``relief_rebalancer.py FLEET.npz SECONDS``.

Nothing of this project is imported here. Capacity of every column is a goal, in one tuple; then the fewest
moves; services are spread over hosts, and nothing leaves its zone.
"""

import json
import sys
import time

import numpy as np
from rebalancer import ProblemSolver
from rebalancer.specs import (
    CapacitySpec,
    ConstraintSpec,
    GoalSpec,
    GroupCountSpec,
    LocalSearchSolverSpec,
    MinimizeMovementSpec,
    MoveTypeSpec,
    SingleFastMoveTypeSpec,
    SolverSpec,
)


def main() -> None:
    data = np.load(sys.argv[1])
    mean, limit, host, zone = data["mean"], data["limit"], data["host"], data["zone"]
    ptr, idx = data["ptr"], data["idx"]
    of_host = np.zeros(len(limit), dtype=int)
    for number, mask in enumerate(data["masks"]):
        of_host[mask] = number
    assert (of_host[host] == zone).all()
    shards = [f"s{i}" for i in range(len(host))]
    hosts = [f"h{j}" for j in range(len(limit))]
    solver = ProblemSolver(service_name="bench", service_scope="bench")
    solver.set_object_name("shard")
    solver.set_container_name("host")
    placed: dict[str, list[str]] = {name: [] for name in hosts}
    for i, h in enumerate(host.tolist()):
        placed[hosts[h]].append(shards[i])
    solver.set_assignment(placed)
    for d in range(mean.shape[1]):
        solver.add_object_dimension(f"d{d}", dict(zip(shards, mean[:, d].astype(float).tolist(), strict=True)))
        solver.add_container_dimension(f"d{d}", dict(zip(hosts, limit[:, d].tolist(), strict=True)))
    solver.add_scope("zone", {hosts[j]: f"z{of_host[j]}" for j in range(len(hosts))})
    groups = {f"g{g}": [shards[i] for i in idx[ptr[g] : ptr[g + 1]].tolist()] for g in range(len(ptr) - 1)}
    solver.add_partition("service", groups)
    apart = GroupCountSpec(name="apart", scope="host", partitionName="service", limit={"globalLimit": 1})
    solver.add_constraint(ConstraintSpec(groupCountSpec=apart))
    zones = MinimizeMovementSpec(name="zone", scope="zone", dimension="shard_count", allowance=0, doNotNormalize=True)
    solver.add_constraint(ConstraintSpec(minimizeMovementSpec=zones))
    for d in range(mean.shape[1]):
        room = CapacitySpec(name=f"c{d}", scope="host", dimension=f"d{d}")
        solver.add_goal(GoalSpec(capacitySpec=room), 1.0)
    solver.add_goal_boundary()
    few = MinimizeMovementSpec(name="moves", scope="host", dimension="shard_count", doNotNormalize=True)
    solver.add_goal(GoalSpec(minimizeMovementSpec=few), 1.0)
    kinds = [MoveTypeSpec(singleFastMoveTypeSpec=SingleFastMoveTypeSpec())]
    search = LocalSearchSolverSpec(moveTypeList=kinds, solveTime=int(sys.argv[2]))
    solver.add_solver(SolverSpec(localSearchSolverSpec=search))
    began = time.process_time()
    solution = solver.solve()
    cpu = time.process_time() - began
    answer = solution.assignment if hasattr(solution, "assignment") else solution["assignment"]
    at = host.astype(int)
    if shards[0] in answer:
        at = np.array([int(answer[name][1:]) for name in shards])
    else:
        for name, members in answer.items():
            for member in members:
                at[int(member[1:])] = int(name[1:])
    print(json.dumps({"at": at.tolist(), "cpu": cpu}))


main()
