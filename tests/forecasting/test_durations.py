"""Execution times from the features of the input: against simple rules, on generated calls with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.invocations import Invocation, features
from sidestep.fleet.labels import Label
from sidestep.forecasting.durations import Durations

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
Given = dict[str, float | str]
World = Callable[[np.random.Generator, int, int], tuple[float, Given]]


def call(app: str, wall: float, given: Given | None = None, **known: float) -> Invocation:
    return Invocation(app=Label(app), t=0.0, wall_s=wall, x=features(given or {}), **known)  # type: ignore[arg-type]


def plain(chance: np.random.Generator, function: int, number: int) -> tuple[float, Given]:
    return np.exp(function % 7 - 3) * np.exp(chance.normal(0, 0.25)), {}


def useless(chance: np.random.Generator, function: int, number: int) -> tuple[float, Given]:
    wall, _ = plain(chance, function, number)
    return wall, {"size": float(chance.lognormal(8, 1.5)), "kind": str(chance.choice(["a", "b"])), "u": chance.random()}


def bimodal(chance: np.random.Generator, function: int, number: int) -> tuple[float, Given]:
    return np.exp(function % 7 - 3) * (1 if chance.random() < 0.8 else 8) * np.exp(chance.normal(0, 0.1)), {}


def sized(chance: np.random.Generator, function: int, number: int) -> tuple[float, Given]:
    size = float(chance.lognormal(8, 1.5))
    exponent = 0.3 + 0.1 * (function % 8)
    return np.exp(function % 7 - 3) * (size / 3000) ** exponent * np.exp(chance.normal(0, 0.25)), {"size": size}


def kinds(chance: np.random.Generator, function: int, number: int) -> tuple[float, Given]:
    kind = str(chance.choice(["png", "jpg", "gif"]))
    factor = {"png": 1.0, "jpg": 3.0, "gif": 0.3}[kind]
    return np.exp(function % 7 - 3) * factor * np.exp(chance.normal(0, 0.25)), {"kind": kind}


def affine(chance: np.random.Generator, function: int, number: int) -> tuple[float, Given]:
    size = float(chance.lognormal(8, 1.5))
    return np.exp(function % 7 - 3) * (1 + size / 3000) * np.exp(chance.normal(0, 0.25)), {"size": size}


def pinball(came: np.ndarray, said: np.ndarray) -> np.ndarray:
    miss = np.log(came)[:, None] - np.log(said)
    return np.maximum(np.array(LEVELS) * miss, (np.array(LEVELS) - 1) * miss).mean(axis=1)


@cache
def contest(world: World, seed: int = 1, functions: int = 25, calls: int = 35) -> np.ndarray:
    """(calls, 3): mean loss of ours, of each function's own quantiles, and of all functions' together."""
    chance = np.random.default_rng(seed)
    model, own, all_ = Durations(), [[] for _ in range(functions)], []  # type: Durations, list[list[float]], list[float]
    losses = np.full((calls, 3), np.nan)
    for number in range(calls):
        happened = [world(chance, function, number) for function in range(functions)]
        walls = np.array([wall for wall, _ in happened])
        if number:
            names = [f"f{function}" for function in range(functions)]
            ours = model.predict_all(names, [given for _, given in happened], LEVELS)[:, 0]
            theirs = np.array([np.quantile(past, LEVELS) for past in own])
            everybody = np.broadcast_to(np.quantile(all_, LEVELS), ours.shape)
            losses[number] = [pinball(walls, said).mean() for said in (ours, theirs, everybody)]
        model.observe([call(f"f{f}", wall, given) for f, (wall, given) in enumerate(happened)])
        for past, wall in zip(own, walls.tolist(), strict=True):
            past.append(wall)
            all_.append(wall)
    return losses


@pytest.mark.parametrize("world", [plain, useless, bimodal, sized, kinds, affine], ids=lambda w: w.__name__)
def test_from_five_calls_on_it_is_not_worse_than_simple_rules(world: World) -> None:
    """S1.5: never worse than a quantile of the function's own past, or of everybody's."""
    ours, own, everybody = contest(world)[5:].mean(axis=0)
    assert ours <= 1.02 * own
    assert ours <= 1.02 * everybody


@pytest.mark.parametrize(
    ("world", "share"), [(sized, 0.35), (kinds, 0.5), (affine, 0.65)], ids=["size", "kind", "affine"]
)
def test_where_features_matter_it_is_far_better(world: World, share: float) -> None:
    """S1.2, S1.5: execution time from input features."""
    ours, own, everybody = contest(world)[5:].mean(axis=0)
    assert ours <= share * own
    assert ours <= share * everybody


def test_its_band_holds_what_it_says() -> None:
    chance = np.random.default_rng(2)
    model, inside, count = Durations(), 0, 0
    for number in range(60):
        happened = [sized(chance, function, number) for function in range(20)]
        if number >= 10:
            said = model.predict_all([f"f{f}" for f in range(20)], [given for _, given in happened], (0.1, 0.9))[:, 0]
            walls = np.array([wall for wall, _ in happened])
            inside += int(((walls >= said[:, 0]) & (walls <= said[:, 1])).sum())
            count += len(walls)
        model.observe([call(f"f{f}", wall, given) for f, (wall, given) in enumerate(happened)])
    assert 0.76 <= inside / count <= 0.86


def test_a_function_that_was_never_called_is_guessed_from_all_others() -> None:
    model = Durations()
    assert np.isnan(model.predict("new").wall_s).all()
    chance = np.random.default_rng(0)
    for number in range(20):
        model.observe([call(f"f{f}", *plain(chance, f, number)) for f in range(30)])
    found = model.predict("new", levels=LEVELS)
    assert found.calls == 0
    assert found.wall_s[0] < np.exp(-2) < found.wall_s[-1]
    assert found.wall_s[-1] / found.wall_s[0] > 10, "it may be any of them"
    assert np.isnan(found.cpu_s).all(), "nobody ever said what it costs"
    model.observe([call("new", 0.5)])
    closer = model.predict("new", levels=LEVELS)
    assert closer.wall_s[-1] / closer.wall_s[0] < found.wall_s[-1] / found.wall_s[0]


def test_a_slope_that_all_functions_share_is_known_of_the_next_one() -> None:
    chance = np.random.default_rng(4)
    model = Durations()
    for _ in range(20):
        sizes = chance.lognormal(8, 1.5, 20)
        model.observe(
            [call(f"f{f}", size / 1e4 * np.exp(chance.normal(0, 0.1)), {"size": size}) for f, size in enumerate(sizes)]
        )
    model.observe([call("new", 0.5, {"size": 5000.0})])
    small, large = (model.predict("new", {"size": size}, (0.5,)).wall_s[0] for size in (500.0, 50_000.0))
    assert large / small > 5


def test_more_work_takes_longer_once_that_was_seen() -> None:
    chance = np.random.default_rng(0)
    model = Durations()
    for number in range(40):
        model.observe([call("f", *sized(chance, 0, number))])
    medians = [
        model.predict("f", {"size": size}, (0.5,)).wall_s[0] for size in (300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
    ]
    assert medians == sorted(medians)


def width(model: Durations, given: Given) -> float:
    said = model.predict("f", given, (0.1, 0.9)).wall_s
    return said[1] / said[0]


def test_inputs_unlike_those_that_were_seen_widen_the_band() -> None:
    chance = np.random.default_rng(0)
    model = Durations()
    for number in range(40):
        wall, given = sized(chance, 0, number)
        model.observe([call("f", wall, {**given, "kind": "png" if number % 2 else "gif"})])
    usual = width(model, {"size": 3000.0, "kind": "png"})
    assert width(model, {"size": 3000.0, "kind": "tiff"}) > 1.3 * usual
    assert width(model, {"size": 3000.0, "kind": "png", "colours": 7.0}) > 1.3 * usual
    assert width(model, {"size": 3e12, "kind": "png"}) > 1.1 * usual
    assert width(model, {"kind": "png"}) > 1.3 * usual, "the size is not told"


def test_costs_and_memory_are_predicted_beside_the_time() -> None:
    chance = np.random.default_rng(0)
    model = Durations()
    for number in range(40):
        wall, given = sized(chance, 0, number)
        model.observe([call("f", wall, given, cpu_s=wall / 2, max_rss=1e8 * np.exp(chance.normal(0, 0.05)))])
    found = model.predict("f", {"size": 3000.0}, (0.5,))
    assert found.cpu_s[0] == pytest.approx(found.wall_s[0] / 2, rel=0.1)
    assert found.max_rss[0] == pytest.approx(1e8, rel=0.1)


def test_functions_are_bounded_and_the_longest_unused_goes_first() -> None:
    model = Durations(most=3)
    for name in ("a", "b", "c", "a", "d"):
        model.observe([call(name, 1.0, {"size": 1.0, "kind": name})])
    assert set(model.functions) == {"a", "c", "d"}
    assert model.predict("d", {"size": 1.0}).calls == 1


def test_the_same_calls_one_by_one_or_together_teach_the_same() -> None:
    """Functions are rows: none of them knows how the batch was cut, up to what all have in common."""
    chance = np.random.default_rng(1)
    calls = [call(f"f{number % 4}", *sized(chance, number % 4, number)) for number in range(40)]
    together, single = Durations(), Durations()
    together.observe(calls)
    for each in calls:
        single.observe([each])
    for name in ("f0", "f3"):
        one, other = (model.predict(name, {"size": 2000.0}) for model in (together, single))
        np.testing.assert_allclose(one.wall_s, other.wall_s, rtol=1e-6)


numbers = st.floats(min_value=-1e12, max_value=1e12)
inputs = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), numbers | st.text(max_size=5), max_size=4)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(min_value=0, max_value=1e9), inputs), min_size=1, max_size=15), inputs)
def test_whatever_came_quantiles_are_finite_positive_and_do_not_cross(
    past: list[tuple[float, Given]], asked: Given
) -> None:
    model = Durations()
    model.observe([call("f", wall, given) for wall, given in past])
    for app in ("f", "stranger"):
        said = np.array(model.predict(app, asked, LEVELS).wall_s)
        assert np.isfinite(said).all()
        assert (said > 0).all()
        assert (np.diff(said) >= 0).all()


@pytest.mark.parametrize(
    "levels", [(), (0.5, 0.5), (0.9, 0.1), (0.0,), (1.0,)], ids=["none", "same", "falls", "0", "1"]
)
def test_levels_that_cannot_be_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="levels"):
        Durations().predict("f", levels=levels)
