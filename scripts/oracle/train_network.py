"""Makes the weights that the oracle ships with: ``python -m scripts.oracle.train_network --data DIR``.

Learns from the part of public traces that is there to fit (half of the machines, first 60 % of
the time; see benchmarks/oracle/data.py) and from generated series, and reports the loss on
the part that is there to choose. The sealed part is never read. What the traces are, and
under which licences, stands in forecasting/network/CARD.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import Group, PartName, load_all, machines_of, time_of
from scripts.oracle.generated import panel
from sidestep.forecasting.network.features import KNOTS
from sidestep.forecasting.network.learn import Samples, collect, fit, fresh, loss_of, thinned
from sidestep.forecasting.network.net import FILE

OUT: Final = Path(__file__).parents[2] / "forecasting" / "network" / FILE
#: samples of every group and way of looking at it
EACH: Final = 26_000
SEASONS: Final = (0, 0, 48, 96, 120, 288)
#: steps of a stream that begins anywhere
SHORT: Final = 480
F64 = NDArray[np.float64]


def series_of(group: Group, part: PartName) -> F64:
    """(T, S) of a part, without series that never change; none goes below 0."""
    begin, end = time_of(group, part)
    block = group.values[machines_of(group, part), :, begin:end].astype(np.float64)
    block = block.reshape(-1, block.shape[-1])
    known = np.isfinite(block)
    low, high = np.where(known, block, np.inf).min(axis=1), np.where(known, block, -np.inf).max(axis=1)
    kept = (high > low) & (known.mean(axis=1) > 0.2)
    return np.ascontiguousarray((block[kept] - np.minimum(low[kept], 0)[:, None]).T)


def coarse(values: F64, factor: int) -> F64:
    """Means of ``factor`` steps; NaN where none of them is known."""
    count = len(values) // factor
    block = values[: count * factor].reshape(count, factor, -1)
    known = np.isfinite(block)
    number = known.sum(axis=1)
    total = np.where(known, block, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def shorts(values: F64, generator: np.random.Generator, count: int, length: int) -> tuple[F64, F64]:
    """(length, count) streams that begin anywhere, and the size of the series that each is from."""
    length = min(length, len(values))
    series = generator.integers(values.shape[1], size=count)
    first = generator.integers(len(values) - length + 1, size=count)
    found = values[first[None, :] + np.arange(length)[:, None], series[None, :]]
    return found, np.nanstd(values, axis=0)[series]


def streams(values: F64, season: float, generator: np.random.Generator, each: int) -> list[Samples]:
    """A group as many short streams, with and without holes: young ages as often as later ones."""
    found = []
    for missing in (0.0, 0.2):
        for length, part in ((SHORT, 1.0), (48 + KNOTS[-1], 0.8), (14 + KNOTS[-1], 0.6)):
            block, size = shorts(values, generator, 2500, length)
            share = min(0.9, 2.0 * part * each / block.size)
            samples = collect(block, season, generator, share=share, missing=missing, spread=size)
            found.append(thinned(samples, round(part * each), generator))
    return found


def looked_at(group: Group, part: PartName, generator: np.random.Generator, each: int) -> list[Samples]:
    """A group as it is, with holes, coarser, and as many short streams."""
    values = series_of(group, part)
    if values.shape[1] == 0:
        return []
    found, ways = streams(values, group.day, generator, each), list[tuple[F64, float, float, float]]()
    if len(values) > 2 * group.day:
        # the last weeks are enough, and groups with many series need fewer steps
        recent = values[-12 * group.day :]
        ways += [(recent, group.day, 0.0, 0.0), (recent, group.day, 0.2, 0.05)]
        factors = (2, 5) if group.day < 600 else (3, 5, 15)
        ways += [(coarse(recent, factor), group.day / factor, 0.05, 0.0) for factor in factors]
        for factor in factors[:2]:
            found += streams(coarse(values, factor), group.day / factor, generator, each // 2)
    for block, season, missing, outages in ways:
        many = block[:, generator.permutation(block.shape[1])[:300]]
        share = min(0.5, 2.0 * each / many.size)
        samples = collect(many, season, generator, share=share, missing=missing, outages=outages)
        found.append(thinned(samples, each, generator))
    return found


def invented(generator: np.random.Generator, each: int) -> list[Samples]:
    """Generated series of every season."""
    found = []
    for season in SEASONS:
        for missing in (0.0, 0.15):
            values = panel(generator, 900, 320, season)
            share = each / values.size
            found.append(collect(values, season, generator, share=share, missing=missing, outages=missing / 5))
            found += streams(values, season, generator, each // 4)
    return found


def main() -> int:
    """Fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--each", type=int, default=EACH)
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args()
    generator, begun = np.random.default_rng(given.seed), time.monotonic()
    learned, chosen = list[Samples](), dict[str, Samples]()
    for group in load_all(given.data):
        parts = looked_at(group, "fit", generator, given.each)
        learned += parts
        chosen[group.name] = Samples.joined(looked_at(group, "choose", generator, given.each // 6))
        print(f"{group.name}: {sum(map(len, parts))} samples, {time.monotonic() - begun:.0f} s", flush=True)
    learned += invented(generator, given.each // 2)
    chosen["generated"] = Samples.joined(invented(generator, given.each // 12))
    samples = Samples.joined(learned)
    print(f"{len(samples)} samples in all", flush=True)

    def tell(epoch: int, loss: float) -> None:
        print(f"epoch {epoch}: {loss:.5f}, {time.monotonic() - begun:.0f} s", flush=True)

    weights = fit(fresh(samples, given.seed), samples, epochs=given.epochs, seed=given.seed, report=tell)
    for name, part in chosen.items():
        print(f"{name}: loss {loss_of(weights, part):.5f} on {len(part)} samples to choose by")
    given.out.write_bytes(weights.to_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
