"""One Prometheus server: asked for a range or for now, with answers that are bounded and looked at."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub

#: most bytes of one answer
MOST_BYTES: Final = 1 << 29


Row = TypeVar("Row")


class PrometheusError(SidestepError):
    """The server did not answer a query; names the URL, the query and what it said."""


@dataclass(frozen=True)
class Server:
    """Where to ask, and how. Blocks."""

    url: str
    timeout: float
    token: str = ""
    most: int = MOST_BYTES

    def range(self, query: str, start: float, end: float, step: float) -> list[tuple[str, list[tuple[float, float]]]]:
        """(instance, points) of every series. Raises PrometheusError."""

        def row(found: Mapping[str, Any]) -> tuple[str, list[tuple[float, float]]]:
            points = [(float(at), float(value)) for at, value in found["values"]]
            return str(found["metric"].get("instance", "")), points

        asked = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        rows = self._ask("query_range", asked, row)
        most = (end - start) / step + 2
        for _, points in rows:
            if len(points) > most or not all(start - 1 <= at <= end + 1 for at, _ in points):
                raise self._error("query_range", query, "points that were not asked for", "name the server's own URL")
        return rows

    def now(self, query: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of every series now. Raises PrometheusError."""

        def row(found: Mapping[str, Any]) -> tuple[dict[str, str], float]:
            return {str(key): str(value) for key, value in found["metric"].items()}, float(found["value"][1])

        return self._ask("query", {"query": query}, row)

    def _ask(self, what: str, asked: Mapping[str, str], row: Callable[[Mapping[str, Any]], Row]) -> list[Row]:
        query = asked["query"]
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked by checked_url
            f"{self.url}/api/v1/{what}", data=urllib.parse.urlencode(asked).encode()
        )
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                data = _read(answer, time.monotonic() + self.timeout, self.most)
        except urllib.error.HTTPError as error:
            hint = _HINTS.get(error.code, "look at the server's log")
            raise self._error(what, query, f"HTTP status {error.code}: {_said(error)}", hint) from None
        except TimeoutError:
            raise self._error(
                what, query, f"no answer in {self.timeout:g} s", "ask for fewer --days, or raise --timeout"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = scrub(str(getattr(error, "reason", error)), 200) or type(error).__name__
            raise self._error(what, query, reason, "check the address, and that the server runs") from None
        if len(data) > self.most:
            raise self._error(what, query, f"an answer of more than {self.most} bytes", "raise --step")
        try:
            return [row(found) for found in json.loads(data)["data"]["result"]]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            said = f"not an answer of Prometheus: {scrub(repr(error), 200)}"
            raise self._error(what, query, said, "name the server's own URL") from None

    def _error(self, what: str, query: str, message: str, hint: str) -> PrometheusError:
        return PrometheusError(f"{self.url}/api/v1/{what}: {message}; query: {query}", hint=hint)


def checked_url(url: str) -> str:
    """The address of a server, without a slash at its end. Raises UsageError."""
    try:
        split = urllib.parse.urlsplit(url)
        good = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", url):
        raise UsageError(f"{scrub(url)}: not an address of a server", hint="write http://HOST:9090")
    if split.username or split.password:
        raise UsageError("a password has no place in a URL", hint="refer to a token: file:PATH")
    return url.rstrip("/")


def bearer(token: str, option: str) -> str:
    """A bearer token, fit for a header. Raises UsageError, which does not show it."""
    if not token.isprintable() or not token.isascii():
        raise UsageError(f"{option}: it must be one line of printable ASCII")
    return token.strip()


_HINTS: Final = {
    401: "give a token: --token file:PATH",
    403: "give a token that may query: --token file:PATH",
    404: "name the URL without /api, with the prefix that the server is behind",
    422: "the server could not run the query: ask for fewer --days or raise --step",
    503: "the server is not ready or too busy: try again, or raise --timeout and --step",
}


def _read(answer: Any, until: float, most: int) -> bytes:
    """A whole answer, at most one byte beyond what is allowed. Raises TimeoutError for one that only trickles."""
    parts, room = [], most + 1
    while room > 0 and (part := answer.read1(min(room, 1 << 20))):
        parts.append(part)
        room -= len(part)
        if time.monotonic() > until:
            raise TimeoutError
    if room > 0 and answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(parts)


def _said(error: urllib.error.HTTPError) -> str:
    try:
        data = error.read(2000)
    except (OSError, http.client.HTTPException):
        return "no more than that"
    try:
        return scrub(str(json.loads(data)["error"]), 400)
    except (ValueError, KeyError, TypeError, RecursionError):
        return scrub(data, 200)
