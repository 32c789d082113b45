"""Fixtures of pytest for authors' suites: ``pytest_plugins = ["sidestep.testing.fixtures"]`` in conftest.py.

``sidestep_rule`` makes a test of its own of every rule of the kit, so that a broken one is a failed test with its name;
whoever uses it gives ``sidestep_subject``. They are no entry point of pytest's: nobody else's suite is to load them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sidestep.testing.card import Finding, ReportCard, Verdict
from sidestep.testing.doubles import FakeClock, MemoryFleet
from sidestep.testing.ground import EmbeddedGround, Ground
from sidestep.testing.kit import check_backend, rule_names
from sidestep.testing.subject import Subject

GroundMaker = Callable[[Path], AbstractAsyncContextManager[Ground]]

_RULE = "sidestep_rule"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--sidestep-sample`` and ``--sidestep-seed``, as ``sidestep plugin check`` has them."""
    group = parser.getgroup("sidestep")
    group.addoption("--sidestep-sample", type=int, default=0, help="steps that a rule tries (0: all of them)")
    group.addoption("--sidestep-seed", type=int, default=1, help="which they are")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a rule."""
    if _RULE in metafunc.fixturenames:
        metafunc.parametrize(_RULE, rule_names(), indirect=True, scope="module")


@pytest.fixture
def sidestep_clock() -> FakeClock:
    """A clock that stands still until it is told to go on."""
    return FakeClock()


@pytest.fixture
def sidestep_fleet() -> MemoryFleet:
    """Two hosts in memory, and the clients of what runs on them."""
    return MemoryFleet()


@pytest.fixture(scope="module")
def sidestep_subject() -> Subject:
    """What the kit tries: authors override this fixture."""
    pytest.fail("write a fixture sidestep_subject with scope='module': CounterSubject(make=...) or a Subject of yours")


@pytest.fixture(scope="module")
def sidestep_ground() -> GroundMaker:
    """Where it is tried: embedded hosts in the folder that is given; override it for hosts of your own."""
    return EmbeddedGround


@pytest.fixture(scope="module")
def sidestep_card(
    request: pytest.FixtureRequest,
    sidestep_subject: Subject,
    sidestep_ground: GroundMaker,
    tmp_path_factory: pytest.TempPathFactory,
) -> ReportCard:
    """The card of the rules that were chosen in this module; of all of them where none was."""
    folder = tmp_path_factory.mktemp("kit")
    sample, seed = (int(request.config.getoption(f"--sidestep-{name}")) for name in ("sample", "seed"))
    only = frozenset(_chosen(request.session, request.path))

    async def run() -> ReportCard:
        async with sidestep_ground(folder) as ground:
            return await check_backend(sidestep_subject, ground, only=only, sample=sample, seed=seed)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def sidestep_rule(request: pytest.FixtureRequest, sidestep_card: ReportCard) -> Finding:
    """How one rule came out; skips what the backend does not declare, and what this machine cannot try."""
    (finding,) = (each for each in sidestep_card.findings if each.rule == request.param)
    if finding.verdict in {Verdict.NOT_APPLICABLE, Verdict.NOT_CHECKED}:
        pytest.skip(f"{finding.verdict}: {finding.detail}")
    return finding


def _chosen(session: pytest.Session, path: Path) -> Iterator[str]:
    """The rules of which a test of that file is to run."""
    for item in session.items:
        spec = getattr(item, "callspec", None)
        if item.path == path and spec is not None and _RULE in spec.params:
            yield str(spec.params[_RULE])
