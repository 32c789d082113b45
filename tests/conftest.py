"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator

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
