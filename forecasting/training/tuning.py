"""The shipped network fitted to the fleet's own history, as a challenger of the one that is served.

Learned from what was before the first origin only, so that the contest is on what it has
never seen. Both are judged as they would be served: inside the aggregate, learning every step.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from sidestep.fleet.inventory import CandidateSpec
from sidestep.fleet.labels import Label
from sidestep.forecasting.network import learn
from sidestep.forecasting.network.net import Weights, shipped
from sidestep.forecasting.training.contest import Field, Result, compete
from sidestep.forecasting.training.decide import compare

#: the model that has a network to tune
MODEL: Final = "aggregate"
TUNED: Final = Label("aggregate (tuned)")
SHIPPED: Final = Label("aggregate (shipped)")
#: samples that are learned from, at most and at least
MOST: Final = 40_000
LEAST: Final = 2_000
EPOCHS: Final = 4
#: a network that knows much already is moved a little
RATE: Final = 3e-4
#: hidden from the memory while it learns, so that holes in the data stay known to it
MISSING: Final = 0.05


def entrants(weights: bytes) -> tuple[CandidateSpec, ...]:
    """What competes: the served one, a newly tuned one, and the shipped one where another is served."""
    names = (MODEL, TUNED, *((SHIPPED,) if weights else ()))
    return tuple(CandidateSpec(name=Label(name), model=MODEL) for name in names)


def run(name: str, field: Field, *, share: float, seed: int) -> Result:
    """The result of one entrant; a tuned one's has its weights. Raises ValueError if there is too little to learn."""
    candidate = CandidateSpec(name=Label(name), model=MODEL)
    weights = field.weights if name == MODEL else b""
    if name == TUNED:
        weights = tuned(field, share=share / 2, seed=seed)
    found = compete(candidate, replace(field, weights=weights), share=share, served_fresh=True)
    return msgspec.structs.replace(found, weights=weights if name == TUNED else b"")


def tuned(field: Field, *, share: float, seed: int) -> bytes:
    """Weights fitted to all that was before the first origin, within about ``share`` seconds of processor time."""
    began = time.process_time()
    generator = np.random.default_rng(seed)
    values = field.values[: field.course.origins[0]]
    part = min(1.0, MOST / max(1, values.size))
    samples = learn.thinned(
        learn.collect(values, field.season, generator, share=part, missing=MISSING), MOST, generator
    )
    if len(samples) < LEAST:
        raise ValueError(f"{len(samples)} samples are too few to tune a network; {LEAST} are needed")
    before = Weights.from_bytes(field.weights) if field.weights else shipped()
    start = time.process_time()
    trial = learn.thinned(samples, LEAST, generator)
    learn.fit(before, trial, epochs=1, seed=seed, rate=RATE)
    pace = (time.process_time() - start) / len(trial)
    left = max(0.0, share - (time.process_time() - began))
    samples = learn.thinned(samples, max(LEAST, int(left / pace / EPOCHS)), generator)
    return learn.fit(before, samples, epochs=EPOCHS, seed=seed, rate=RATE).to_bytes()


def verdict(results: dict[str, Result], field: Field, margin: float, seed: int) -> tuple[bytes | None, list[str]]:
    """The weights to serve from now on (None for those that are), and lines for the log."""
    scores = {}
    lines = []
    shape = field.values.shape[1], len(field.course.origins)
    for name, result in results.items():
        if result.error:
            lines.append(f"{name}: out: {result.error}")
        else:
            scores[name] = np.frombuffer(result.scores, "<f4").reshape(shape).astype(np.float64)
    rivals = [name for name in scores if name != MODEL]
    if MODEL not in scores or not rivals:
        return None, lines
    verdicts = {name: compare(scores[name], scores[MODEL], challengers=len(rivals), seed=seed) for name in rivals}
    # back to the shipped weights it takes no margin: what was tuned must go on being better
    wins = [name for name, found in verdicts.items() if found.better(margin if name == TUNED else 0.0)]
    if not wins:
        said = ", ".join(f"{n} {v.score:.3g} against {v.versus:.3g}" for n, v in verdicts.items())
        return None, [*lines, f"kept the network of {MODEL}: scaled CRPS {said}, {len(field.values[0])} series"]
    best = max(wins, key=lambda name: verdicts[name].gain)
    found = verdicts[best]
    lines.append(
        f"promoted {best} on the whole fleet: scaled CRPS {found.score:.3g} against {found.versus:.3g} of the network "
        f"that was served, {found.series} series"
    )
    return results[best].weights if best == TUNED else shipped().to_bytes(), lines
