"""The source of metrics that ships: what a Prometheus server says of shards, by one query for each column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from sidestep.autopilot.prometheus import Server, bearer, checked_url
from sidestep.fleet.errors import UsageError
from sidestep.fleet.resources import REPORTED
from sidestep.fleet.sources import Reading

#: most bytes of one answer, and seconds that it may take
MOST: Final = 1 << 26
TIMEOUT: Final = 10.0
_KEYS: Final = ("url", "label", "timeout", *REPORTED)


class PrometheusSource:
    """Implements ``Source``. ``requests``, ``latency_p50`` and ``latency_p95`` are queries, one at least.

    Each gives one value for every shard, named by ``label`` (``shard`` without): requests a second,
    latencies in seconds. The secret is a bearer token.
    """

    def __init__(self, params: Mapping[str, Any], secret: str) -> None:
        """Raises UsageError for parameters that cannot be used."""
        for key in params:
            if key not in _KEYS:
                raise UsageError(f"params: {key} is unknown; there are: {', '.join(_KEYS)}")
        url, timeout = params.get("url"), params.get("timeout", TIMEOUT)
        if not isinstance(url, str):
            raise UsageError('params: url is missing; write url = "http://HOST:9090"')
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= 600:
            raise UsageError("params: timeout must be seconds between 0 and 600")
        self._queries = {name: params[name] for name in REPORTED if name in params}
        if not self._queries or not all(isinstance(query, str) and query for query in self._queries.values()):
            raise UsageError(f"params: at least one of {', '.join(REPORTED)} must be a query")
        self._label = params.get("label", "shard")
        if not isinstance(self._label, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self._label):
            raise UsageError("params: label must be the name of a label")
        self._server = Server(checked_url(url), float(timeout), bearer(secret, "secret"), MOST)

    def read(self, shards: Sequence[str]) -> Mapping[str, Reading]:
        """Ask every query. Raises PrometheusError."""
        wanted, found = frozenset(shards), dict[str, Reading]()
        for column, query in self._queries.items():
            for labels, value in self._server.now(query):
                name = labels.get(self._label, "")
                if name in wanted:
                    found[name] = replace(found.get(name, Reading()), **{column: value})
        return found
