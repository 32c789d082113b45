"""The audit log's entries: who did what and why, each bound to the one before it. Pure.

A line of the log is the SHA-256 of the entry's bytes, a space, the bytes, and a newline. The
bytes are canonical JSON and hold the digest of the entry before. So every byte of the log is
covered: by its own line's digest, and that by the next line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.fleet.labels import Label, scrub

#: hexadecimal digits of a digest
DIGEST: Final = 64
#: characters of a reason or detail that are kept
TEXT: Final = 2000
_HEX: Final = frozenset(b"0123456789abcdef")
#: stands for the digest of a line that cannot be read
_UNKNOWN: Final = "?"


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One act. ``before`` is the digest of entry ``n - 1``, "" for the first.

    ``plan`` is the digest of the plan that the act is about; ``subject`` what else it is about (a
    host, a shard, "plan 7"); ``detail`` what came of it.
    """

    n: int
    time: float
    act: str
    actor: Label
    subject: Label
    plan: str
    reason: Label
    detail: Label
    before: str

    def line(self) -> bytes:
        """The whole line."""
        body = msgspec.json.encode(self)
        return digest_of(body).encode() + b" " + body + b"\n"


class Fault(Struct, frozen=True):
    """Something is wrong with entry ``n``; ``offset`` is where its line begins in the log."""

    n: int
    offset: int
    what: Label


class Head(Struct, frozen=True):
    """The end of a log: how many entries there are, and the digest of the last one."""

    n: int = 0
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.n}:{self.digest}"


def entry(
    head: Head, *, time: float, act: str, actor: str, subject: str = "", plan: str = "", reason: str = "",
    detail: str = "",
) -> Entry:  # fmt: skip
    """The entry after ``head``, with nothing in it that a terminal acts on."""
    return Entry(
        n=head.n + 1,
        time=float(time),
        act=act,
        actor=scrub(actor),
        subject=scrub(subject),
        plan=plan,
        reason=scrub(reason, TEXT),
        detail=scrub(detail, TEXT),
        before=head.digest,
    )


def digest_of(body: bytes) -> str:
    """The digest of an entry's bytes."""
    return hashlib.sha256(body).hexdigest()


def digest_in(line: bytes) -> str:
    """The digest that a line begins with, "" if it does not."""
    found = line[:DIGEST]
    return found.decode() if len(found) == DIGEST and set(found) <= _HEX else ""


def read_line(line: bytes) -> Entry:
    """The entry that a line is. Raises ValueError that says what is wrong with the line."""
    if not line.endswith(b"\n"):
        raise ValueError("is cut off in the middle")
    body, said = line[DIGEST + 1 : -1], digest_in(line)
    if not said or line[DIGEST : DIGEST + 1] != b" ":
        raise ValueError("does not begin with a digest")
    if digest_of(body) != said:
        raise ValueError(f"is not what was written: its digest is {said[:12]}, its text gives {digest_of(body)[:12]}")
    try:
        found = msgspec.json.decode(body, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    if msgspec.json.encode(found) != body:
        raise ValueError("is not written as this program writes")
    return found


def split(log: bytes) -> list[bytes]:
    """The lines of a log, each with its newline; the last may lack it."""
    lines = [part + b"\n" for part in log.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def faults_of(lines: Iterable[bytes]) -> tuple[list[Fault], Head]:
    """Everything that is wrong with a log by itself, in order, and its end.

    A line is judged against the one before it, so that one changed line is one fault. What was cut
    off at the end of a line is not seen: that takes a head from elsewhere.
    """
    faults: list[Fault] = []
    offset, head = 0, Head()
    for line in lines:
        place, wrong = head.n + 1, ""
        try:
            found = read_line(line)
        except ValueError as error:
            wrong, head = str(error), Head(place, _UNKNOWN)
        else:
            wrong = _misplaced(found, head)
            if found.n >= place:  # what stands too late is passed over
                head = Head(found.n, digest_in(line))
        if wrong:
            faults.append(Fault(place, offset, scrub(wrong, TEXT)))
        offset += len(line)
    return faults, head


def _misplaced(found: Entry, head: Head) -> str:
    """What is wrong with where an entry stands, or nothing."""
    place = head.n + 1
    if found.n > place:
        return f"is missing, with all up to entry {found.n - 1}" if found.n > place + 1 else "is missing"
    if found.n < place:
        return f"is not here: entry {found.n} stands in its place"
    if head.digest not in (_UNKNOWN, found.before):
        return f"does not follow the entry before it: it names {found.before[:12] or 'none'}, not {head.digest[:12]}"
    return ""


def differences(ours: bytes, theirs: bytes, names: tuple[str, str]) -> str:
    """Which fields of two versions of one line differ, in words; ``names`` says whose they are."""
    fields = []
    for line in (ours, theirs):
        try:
            fields.append(msgspec.json.decode(line[DIGEST + 1 :], type=dict[str, object]))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            fields.append({})
    one, other = fields
    changed = [name for name in Entry.__struct_fields__ if one.get(name) != other.get(name)]
    if not one or not changed:
        at = next(
            (k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        return scrub(
            f"byte {at} of its line: {names[0]} {ours[at : at + 1]!r}, {names[1]} {theirs[at : at + 1]!r}", TEXT
        )
    shown = [f"{k}: {names[0]} {one.get(k)!r}, {names[1]} {other.get(k)!r}" for k in changed]
    return scrub("; ".join(shown), TEXT)
