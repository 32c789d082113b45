"""A plain list of hosts: ``NAME [[USER@]ADDRESS[:PORT]]`` on a line, ``#`` begins a comment."""

from __future__ import annotations

import re
from typing import Final

from sidestep.autopilot.init.draft import Draft, Found
from sidestep.fleet.config_ranges import expand

_PLACE: Final = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<v6>[0-9A-Fa-f:.%]+:[0-9A-Fa-f:.%]*)\]|(?P<plain>[^@\s]+?))(?::(?P<port>\d{1,5}))?"
)


def read(text: str) -> Draft:
    """The hosts of a list; ranges such as web[01-40] run in step with their addresses."""
    draft = Draft()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) > 2:
            draft.leave(f"line {number}", "has more than a name and an address: NAME [[USER@]ADDRESS[:PORT]]")
            continue
        user, address, port = place(words[-1])
        # A name alone is where the host is, too; user and port are not part of it.
        name = words[0] if len(words) == 2 else address
        try:
            names, addresses = expand(name), expand(address)
        except ValueError as error:
            draft.leave(f"line {number}", str(error))
            continue
        if len(names) != len(addresses):
            draft.leave(f"line {number}", f"{len(names)} names but {len(addresses)} addresses")
            continue
        for one, where in zip(names, addresses, strict=True):
            draft.add(Found(name=one, address=where, port=port, user=user))
    return draft


def place(text: str) -> tuple[str, str, int]:
    """User, address and port of ``[USER@]ADDRESS[:PORT]``; an IPv6 address with a port stands in brackets."""
    user, at, rest = text.rpartition("@")
    if rest.count(":") > 1 and not rest.startswith("["):
        return user if at else "", rest, 0
    found = _PLACE.fullmatch(text)
    if found is None:
        return "", text, 0
    return found["user"] or "", found["v6"] or found["plain"], int(found["port"] or 0)
