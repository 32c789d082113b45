"""SSHFP records: what the domain name system says about a host's key, and how far that can be believed.

Shown beside the fingerprint, and never enough to trust a key by itself: unless the resolver
says that it has validated the answer (DNSSEC), anybody on the way may have written it. Needs
the optional library dnspython; without it nothing is looked up, and that is said.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any, Final, Literal

import asyncssh
from msgspec import Struct

from sidestep.fleet.labels import Label, scrub

#: seconds that the resolvers have together
PATIENCE: Final = 3.0
#: numbers of algorithms (RFC 4255, 6594, 7479), and of the one kind of digest that is worth comparing
_ALGORITHMS: Final = {"ssh-rsa": 1, "ssh-ed25519": 4, "ssh-ed448": 6}
_ECDSA: Final = 3
_SHA256: Final = 2

Verdict = Literal["match", "mismatch", "none", "unknown", "off"]


class Said(Struct, frozen=True):
    """``match``: a record has this very key; ``mismatch``: there are records of its kind, and none has it.

    ``none``: no such record; ``unknown``: no answer, ``why``; ``off``: not asked, ``why``.
    """

    verdict: Verdict
    #: whether the resolver says that it validated the answer
    validated: bool = False
    why: Label = Label("")

    def lines(self) -> tuple[str, ...]:
        """For people."""
        how = (
            "your resolver says that it is validated (DNSSEC)"
            if self.validated
            else "not validated (no DNSSEC): anybody on the way may have written it, so it proves nothing"
        )
        match self.verdict:
            case "match":
                return (f"SSHFP: the domain name system has this very key; {how}",)
            case "mismatch":
                return (
                    f"SSHFP: the domain name system has ANOTHER key for this name; {how}",
                    "Do not go on before you know why: an old record, or somebody who listens in.",
                )
            case "none":
                return ("SSHFP: the domain name system has no record of such a key for this name.",)
        return (f"SSHFP: not looked up: {self.why}",)


async def look_up(name: str, key: asyncssh.SSHKey, *, nameservers: tuple[str, ...] = (), port: int = 53) -> Said:
    """What the domain name system says about ``key`` being that of ``name``. Never raises.

    ``nameservers`` are addresses; by default those of the system. Only SHA-256 counts:
    records with SHA-1 are passed over.
    """
    number = _number(key)
    if number is None:
        return Said("off", why=Label("there are no records for keys of this kind"))
    if _is_address(name):
        return Said("off", why=Label("it was named by its address, which has no records"))
    try:
        import dns.asyncresolver  # noqa: PLC0415 - optional, and only for this question
        import dns.exception  # noqa: PLC0415
        import dns.flags  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415
    except ImportError:
        return Said("off", why=Label("dnspython is not installed (pip install 'sidestep[dns]')"))
    try:
        resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            resolver.nameservers, resolver.port = list(nameservers), port
        resolver.flags = dns.flags.RD | dns.flags.AD
        answer = await resolver.resolve(name, "SSHFP", lifetime=PATIENCE, search=True)
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
        return Said("none")
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return Said("unknown", why=scrub(f"{type(error).__name__}: {error}"))
    return _judged(list(answer), bool(answer.response.flags & dns.flags.AD), number, key)


def _judged(records: list[Any], validated: bool, number: int, key: asyncssh.SSHKey) -> Said:
    digest = hashlib.sha256(key.public_data).digest()
    ours = [bytes(r.fingerprint) for r in records if (r.algorithm, r.fp_type) == (number, _SHA256)]
    if not ours:
        return Said("none", validated)
    return Said("match" if digest in ours else "mismatch", validated)


def _number(key: asyncssh.SSHKey) -> int | None:
    name = key.get_algorithm()
    return _ECDSA if name.startswith("ecdsa-sha2-") else _ALGORITHMS.get(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
