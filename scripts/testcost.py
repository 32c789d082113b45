"""What the tests cost: processor seconds of every file, children that have ended included, the dearest first.

``make test TEST_ARGS="-p scripts.testcost"``. Wall clock tells little of tests that run side by side or wait.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Generator

import pytest

_KEY = "processor seconds"
_SHOWN = 60
_files: Counter[str] = Counter()
_last = 0.0


def _spent() -> float:
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Note what was spent since the test before, in whichever process that runs tests."""
    global _last  # noqa: PLW0603 - hooks of a module have nowhere else to keep it
    yield
    now = _spent()
    item.user_properties.append((_KEY, f"{now - _last:.3f}"))
    _last = now


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add it up where reports come together."""
    if report.when == "teardown":
        _files[report.location[0]] += sum(float(str(value)) for name, value in report.user_properties if name == _KEY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which files cost most."""
    terminalreporter.section(f"processor seconds of {len(_files)} files: {sum(_files.values()):.0f}")
    for file, seconds in _files.most_common(_SHOWN):
        terminalreporter.write_line(f"{seconds:8.1f}  {file}")
