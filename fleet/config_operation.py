"""What the fleet file says of the daemon's operation: where metrics are served, and where alerts go."""

from __future__ import annotations

import re
from typing import Final

from sidestep.fleet.config_read import SecretFound, name_of, reads

#: where metrics are served when only ``--metrics`` is given
METRICS: Final = "127.0.0.1:9464"
MOST_TARGETS: Final = 16
_ENDPOINT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):(\d{1,5})")
_REFERENCE: Final = r"^([A-Za-z_][A-Za-z0-9_]*=)?(file|command):\s*\S.*$"


@reads(type="string", pattern=rf"^({_ENDPOINT.pattern})?$")
def endpoint(value: object) -> str:
    """``ADDRESS:PORT``, or nothing."""
    if not isinstance(value, str):
        raise TypeError(f"must be a text, not {name_of(value)}")
    if value:
        split(value)
    return value


def split(value: str) -> tuple[str, int]:
    """Address and port of an endpoint. Raises ValueError."""
    found = _ENDPOINT.fullmatch(value)
    if found is None:
        raise ValueError("must be an address and a port")
    if not 1 <= int(found[2]) <= 65535:
        raise ValueError("must have a port between 1 and 65535")
    return found[1].strip("[]"), int(found[2])


@reads(type="array", items={"type": "string", "pattern": _REFERENCE}, maxItems=MOST_TARGETS, uniqueItems=True)
def references(value: object) -> tuple[str, ...]:
    """Where secrets are to be had, each ``file:PATH`` or ``command:LINE``, perhaps after ``NAME=``; never a secret."""
    if not isinstance(value, list):
        raise TypeError(f"must be a list of texts, not {name_of(value)}")
    if len(value) > MOST_TARGETS:
        raise ValueError(f"must be at most {MOST_TARGETS}")
    for item in value:
        if not isinstance(item, str) or "\0" in item or not re.fullmatch(_REFERENCE[1:-1], item):
            # Not shown: addresses of chat services hold their passwords.
            raise SecretFound("must say where the targets are, not what they are: file:PATH or command:LINE")
    if len(set(value)) < len(value):
        raise ValueError("must name each target once")
    return tuple(value)
