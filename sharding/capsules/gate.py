"""Which capsules a destination takes: signed by a host it knows, of its program, and newer than what it had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidestep.fleet.capsules import Fingerprint, Sealed
from sidestep.sharding.capsules.keys import trusted
from sidestep.sharding.capsules.platform import differences


class Rejected(Exception):
    """A capsule that is not taken; ``code`` is stable.

    ``host``, ``signature``, ``shard``, ``program``, ``token``, ``sequence``, ``fingerprint``, ``missing``, ``chunk``,
    ``size``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Expected:
    """What a capsule must be of; empty fields are not asked."""

    shard: str = ""
    program: bytes = b""
    fingerprint: Fingerprint | None = None


@dataclass(slots=True)
class Gate:
    """Knows the hosts' public keys, and of each shard the highest token and sequence that were taken."""

    keys: Mapping[str, bytes]
    taken: dict[str, tuple[int, int]] = field(default_factory=dict)

    def check(self, sealed: Sealed, expected: Expected = Expected()) -> None:
        """Raise Rejected, with the reason, for a capsule that must not be used. Changes nothing."""
        header = sealed.header
        if (public := self.keys.get(header.host)) is None:
            raise Rejected("host", f"a capsule by {header.host!r}, of whom no key is known")
        if not trusted(public, sealed.raw, sealed.signature):
            raise Rejected("signature", f"not signed by {header.host!r}: another key, or the header was changed")
        if expected.shard and header.shard != expected.shard:
            raise Rejected("shard", f"a capsule of {header.shard!r}, not of {expected.shard!r}")
        if expected.program and header.program != expected.program:
            raise Rejected("program", "a capsule of another program, or of another version of it")
        token, sequence = self.taken.get(header.shard, (-1, -1))
        if header.token < token:
            raise Rejected("token", f"fencing token {header.token} is older than {token}: its maker lost the shard")
        if header.token == token and header.sequence <= sequence:
            raise Rejected("sequence", f"sequence {header.sequence} was had before: {sequence} was taken")
        if expected.fingerprint is not None and (others := differences(header.fingerprint, expected.fingerprint)):
            raise Rejected("fingerprint", "another platform: " + "; ".join(others))

    def take(self, sealed: Sealed, expected: Expected = Expected()) -> None:
        """Check, and remember that it was taken. Raises Rejected."""
        self.check(sealed, expected)
        self.taken[sealed.header.shard] = (sealed.header.token, sealed.header.sequence)
