"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# whoever starts the tests in the background has them ignore interrupts, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)

# with as many threads of linear algebra as processors in each worker, they spin for one another: four times the work
# and more; read when numpy is first imported, here and in what tests start
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# what is loaded and collected here stays to the end: no sweep need look through it (see ``pytest_collection_finish``)
gc.disable()

# how long an example takes says something of the machine only; what takes long is seen by --durations; CI tries the
# same examples every time, so that what it says is of the change and not of luck: new ones are tried by everybody else
settings.register_profile(
    "ours", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")

#: a test that says so has checked nothing, because a program of `make test` is missing
UNCHECKED = ("Skipped: NOT CHECKED", "Skipped: NO BROWSER")


#: files that take longest, the longest first: whoever of several processes got one of them last, all would wait for
LONGEST = (
    "forecasting/test_estimators_are_genuine.py",
    "forecasting/training/test_training_rounds.py",
    "endtoend/test_host_failures.py",
    "console/test_goldens.py",
    "integration/process/test_process_moves.py",
    "endtoend/test_kill.py",
    "integration/test_lease_embedded.py",
    "integration/test_redis_cluster.py",
    "testing/test_conformance_mutants.py",
    "planning/test_plan_properties.py",
    "forecasting/test_worker_process.py",
    "autopilot/test_trainer_supervision.py",
    "integration/sampler/test_host_sampler.py",
    "autopilot/test_oracle_is_lost.py",
    "testing/test_process_conformance.py",
    "integration/test_daemon_leases.py",
    "integration/test_daemon_operation.py",
    "benchmarks/test_roadef_benchmark.py",
    "endtoend/test_fault_matrix.py",
    "integration/test_newcomer_path.py",
    "integration/test_failover_embedded.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; all else keeps its order."""
    place = {Path(__file__).parent / file: at for at, file in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish() -> None:
    """Sweeps of the garbage collector begin, with what the tests themselves make."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI such a test has failed: there everything is installed."""
    report = yield
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        said = str(report.longrepr[2])
        if said.startswith(UNCHECKED):
            report.outcome, report.longrepr = "failed", f"{said}; in CI nothing may be left out"
    return report
