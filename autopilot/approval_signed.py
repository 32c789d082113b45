"""Signed approvals: a person who cannot reach the daemon signs what is approved, with an SSH key.

The file says which plan by its whole digest, why, and until when; ``ssh-keygen`` checks it against
the fleet's allowed signers (ssh-keygen(1)). Whoever hands it in only carries it.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from sidestep.autopilot.protocol import Approve
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub

#: what the signature is for: one made for something else does not count
NAMESPACE: Final = "sidestep-approval"
MOST_BYTES: Final = 1 << 16
_PATIENCE: Final = 10.0
_HINT: Final = (
    "make one: sidestep plan letter PLAN --reason TEXT > FILE; ssh-keygen -Y sign -n sidestep-approval -f KEY FILE"
)


class Letter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed. ``expires`` is unix time."""

    sidestep_approval: Literal[1] = 1
    fleet: str
    plan: str
    reason: str
    expires: float
    skip: tuple[int, ...] = ()
    outside: str = ""


def text_of(letter: Letter) -> str:
    """The file that is to be signed."""
    return msgspec.json.format(msgspec.json.encode(letter), indent=1).decode() + "\n"


def read_letter(text: str, *, fleet: str, digest: str, now: float) -> Letter:
    """What the text says, if it is about this plan and still in time. Raises UsageError and SidestepError."""
    if len(text) > MOST_BYTES:
        raise UsageError("a signed approval has at most 64 KiB", hint=_HINT)
    try:
        letter = msgspec.json.decode(text, type=Letter)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"not a signed approval: {error}", hint=_HINT) from error
    if letter.fleet != fleet:
        raise SidestepError(f"this approval is for fleet {scrub(letter.fleet)}, not {fleet}")
    if letter.plan != digest:
        raise SidestepError(f"this approval is for the plan {scrub(letter.plan)[:12]}, not {digest[:12]}")
    if not now <= letter.expires:
        raise SidestepError(f"this approval expired {now - letter.expires:.0f} s ago", hint="have a new one signed")
    return letter


def signer(text: str, signature: str, allowed: Path) -> Label:
    """Who signed the text, by the file of allowed signers. Raises SidestepError."""
    if len(signature) > MOST_BYTES:
        raise UsageError("a signature has at most 64 KiB", hint=_HINT)
    if not allowed.is_file():
        raise SidestepError(
            f"{allowed}: there is no such file of allowed signers", hint="name it under [fleet]: signers = PATH"
        )
    with tempfile.TemporaryDirectory(prefix="sidestep-") as folder:
        file = Path(folder, "signature")
        file.write_text(signature, encoding="utf-8")
        named, principals, error = _keygen("find-principals", "-s", str(file), "-f", str(allowed))
        if named:
            raise SidestepError(f"the signature is of nobody that {allowed} names: {error}", hint=_HINT)
        for principal in principals.splitlines():
            failed, _, error = _keygen(
                "verify", "-n", NAMESPACE, "-f", str(allowed), "-I", principal, "-s", str(file), given=text
            )
            if not failed:
                return scrub(principal)
    raise SidestepError(f"the signature does not fit what was signed: {error}", hint="sign the file as it is handed in")


def _keygen(what: str, *arguments: str, given: str = "") -> tuple[bool, str, str]:
    """Whether it failed, what it printed, and what it complained of."""
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", what, *arguments],
            input=given.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except OSError as error:
        raise SidestepError(f"ssh-keygen cannot be run: {error.strerror}", hint="install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise SidestepError(f"ssh-keygen took longer than {_PATIENCE:.0f} s") from error
    said = done.stdout.decode("utf-8", "replace"), scrub(" ".join(done.stderr.decode("utf-8", "replace").split()), 500)
    return done.returncode != 0, *said


async def signed(request: Approve, actor: Label, fleet: FleetSpec, now: float) -> tuple[Approve, Label]:
    """What is asked, and by whom: as ``actor`` says, or as a signed approval does. Raises SidestepError."""
    if not request.letter:
        return request, actor
    if not fleet.signers:
        raise SidestepError(
            "this fleet takes no signed approvals", hint="name a file of allowed signers under [fleet]: signers = PATH"
        )
    letter = read_letter(request.letter, fleet=fleet.name, digest=request.digest, now=now)

    def verified() -> Label:
        return signer(request.letter, request.signature, Path(fleet.source).parent / Path(fleet.signers).expanduser())

    who = await asyncio.to_thread(verified)
    reason = letter.reason.strip()
    said = f"{reason} (signed; handed in by {actor})" if reason else ""
    return msgspec.structs.replace(request, reason=said, skip=letter.skip, outside=letter.outside), who
