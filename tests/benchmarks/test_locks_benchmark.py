"""S2.22: the benchmark of locks measures a real service, and its peer."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.locks import Service, measure, plain  # noqa: E402


def test_it_counts_grants_of_a_real_service_and_of_a_plain_table(tmp_path: Path) -> None:
    service = Service(tmp_path)
    try:
        many = asyncio.run(measure(service, 8, 8, 0.2))
        one = asyncio.run(measure(service, 2, 1, 0.2))
    finally:
        service.close()
    peer = plain(0.05)
    assert many["grants a transaction"] > one["grants a transaction"] >= 0.9
    assert set(peer) < set(many) and all(value > 0 for figures in (many, one, peer) for value in figures.values())
