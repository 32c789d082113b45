"""X2: what a plugin's source says of shards counts as if it was observed, and what is wrong with one is told once."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world_doubles import FakeTime

from sidestep.autopilot.invocations_reported import Reported
from sidestep.autopilot.source_prometheus import PrometheusSource
from sidestep.autopilot.sources import SourceFeeds
from sidestep.fleet import extensions
from sidestep.fleet.config import dump_fleet, parse_documents, parse_fleet
from sidestep.fleet.config_document import read_document
from sidestep.fleet.errors import ConfigError, SidestepError, UsageError
from sidestep.fleet.extensions import SOURCES
from sidestep.fleet.labels import Label
from sidestep.fleet.sources import Reading, SourceSpec

SHARDS = ("shop-01", "shop-02", "kv-01")


class Told:
    """Answers what a test wants it to."""

    answers: ClassVar[list[Any]] = []
    made: ClassVar[list[tuple[Mapping[str, Any], str]]] = []
    held: ClassVar[threading.Event] = threading.Event()

    def __init__(self, params: Mapping[str, Any], secret: str) -> None:
        self.made.append((params, secret))

    def read(self, shards: Sequence[str]) -> Mapping[str, Reading]:
        assert tuple(shards) == SHARDS
        if not self.answers:
            self.held.wait(60)
            return {}
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert set(extensions.entries(SOURCES)) == {"prometheus"}
    found = {"told": EntryPoint("told", f"{__name__}:Told", SOURCES)}
    monkeypatch.setattr(extensions, "entries", lambda group: found if group == SOURCES else {})
    Told.answers, Told.made, Told.held = [], [], threading.Event()
    yield
    Told.held.set()


async def run(*specs: SourceSpec, answers: list[Any], turns: int) -> tuple[np.ndarray | None, list[str]]:
    """What is reported after so many answers of which the last never comes, and what was said."""
    time, said = FakeTime(), list[str]()
    Told.answers = answers
    reported = Reported(SHARDS, interval=1.0)
    feeds = SourceFeeds(specs, SHARDS, reported=reported, clock=time.clock(), report=said.append)
    await feeds.start()
    async with asyncio.timeout(30):
        while Told.answers or len(said) < turns:
            await asyncio.sleep(0.01)
            await time.advance(1.0)
    columns = reported.columns(time.clock().monotonic())
    await feeds.aclose()
    return columns, said


SPEC = SourceSpec(name=Label("shop"), plugin="told", every=1.0, params='{"site": "a"}', secret="command:echo hunter2")


async def test_its_numbers_are_looked_at_and_become_those_of_the_shards() -> None:
    good = {"shop-01": Reading(12.0, 0.004, 0.02), "kv-01": Reading(math.inf, -1.0, 0.5), "other": Reading(1.0)}
    columns, said = await run(SPEC, answers=[good, {"shop-01": Reading(14.0)}], turns=0)
    assert columns is not None
    np.testing.assert_array_equal(columns[0], [14.0, 0.004, 0.02])
    np.testing.assert_array_equal(columns[2], [np.nan, np.nan, 0.5])
    assert np.isnan(columns[1]).all()
    assert said == []
    assert Told.made == [({"site": "a"}, "hunter2")]


async def test_what_it_raises_is_told_once_and_a_strange_error_by_its_type_alone() -> None:
    broken = [ValueError("hunter2"), ValueError("hunter2"), SidestepError("the server is away"), {}, ValueError("x")]
    _, said = await run(SPEC, answers=broken, turns=3)
    assert said == [
        "source shop (told): ValueError",
        "source shop (told): the server is away",
        "source shop (told): ValueError",
    ]


async def test_one_that_nobody_has_or_whose_secret_is_gone_leaves_the_others_alone() -> None:
    lost = SourceSpec(name=Label("lost"), plugin="nowhere")
    mute = SourceSpec(name=Label("mute"), plugin="told", secret="file:/no/such/file")
    columns, said = await run(SPEC, lost, mute, answers=[{"shop-02": Reading(3.0)}], turns=2)
    assert columns is not None and columns[1][0] == 3.0
    assert any("source lost (nowhere): no plugin 'nowhere'" in line for line in said)
    assert any(
        "source mute (told): source.mute.secret: secret file /no/such/file cannot be read" in line for line in said
    )


@given(
    st.lists(
        st.tuples(st.integers(-1, 4), st.lists(st.none() | st.floats(0, 1e6), min_size=3, max_size=3)), max_size=20
    )
)
def test_the_newest_number_of_each_column_is_the_one_that_counts(told: list[tuple[int, list[float | None]]]) -> None:
    reported = Reported([f"s{i}" for i in range(5)], interval=1.0)
    expected = np.full((5, 3), np.nan)
    for row, values in told:
        given_ = np.array([[math.nan if value is None else value for value in values]])
        reported.tell(10.0, np.array([row]), given_, lasts=2.0)
        if row >= 0:
            expected[row] = np.where(np.isfinite(given_[0]), given_[0], expected[row])
    found = reported.columns(11.0)
    np.testing.assert_array_equal(np.full((5, 3), np.nan) if found is None else found, expected)
    late = reported.columns(1e6)
    assert late is None or np.isnan(late).all()


FILE = """
[fleet]
name = "f"
[hosts.a]
address = "x"
[source.shop]
plugin = "prometheus"
every = "5s"
params = { url = "http://prom:9090", requests = "rate(x[1m])" }
secret = "file:/etc/sidestep/token"
"""


def test_it_is_read_from_the_fleet_file_and_written_back() -> None:
    spec = parse_fleet(FILE, "fleet.toml")
    (source,) = spec.sources
    assert (source.name, source.plugin, source.every, source.secret) == (
        "shop", "prometheus", 5.0, "file:/etc/sidestep/token",
    )  # fmt: skip
    assert json.loads(source.params)["requests"] == "rate(x[1m])"
    assert parse_fleet(dump_fleet(spec), "fleet.toml").sources == spec.sources


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('plugin = "prometheus"', 'plugin = "promeheus"', 7, "is no source"),
        ('plugin = "prometheus"\n', "", 6, "plugin: is missing"),
        ('"file:/etc/sidestep/token"', '"hunter2"', 10, "must say where"),
        ('every = "5s"', "every = 0", 8, "every"),
        ("params = {", "parms = {", 9, "did you mean params?"),
    ],
)
def test_each_mistake_names_file_line_and_remedy(old: str, new: str, line: int, said: str) -> None:
    assert old in FILE
    with pytest.raises(ConfigError, match=said) as caught:
        parse_documents([read_document(FILE.replace(old, new), "fleet.toml")], plugged=lambda group: {"prometheus"})
    assert caught.value.line == line
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "url is missing"),
        ({"url": "http://x:1"}, "at least one of requests"),
        ({"url": "http://u:p@x:1", "requests": "up"}, "a password has no place"),
        ({"url": "ftp://x", "requests": "up"}, "not an address of a server"),
        ({"url": "http://x:1", "requests": 3}, "must be a query"),
        ({"url": "http://x:1", "requests": "up", "lable": "x"}, "lable is unknown"),
        ({"url": "http://x:1", "requests": "up", "label": "a b"}, "must be the name of a label"),
        ({"url": "http://x:1", "requests": "up", "timeout": True}, "timeout must be seconds"),
    ],
)
def test_parameters_of_prometheus_that_cannot_be_used_are_told(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PrometheusSource(params, "")
