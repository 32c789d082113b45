"""The keys of the fleet file and how each value is read: type, unit, range, remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import parse_seconds, parse_size

#: names end up in paths, commands and keys: no blank, no slash, no leading dot or dash
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
NAME_HINT: Final = "1 to 63 of letters, digits, '.', '_', '-'; begin with a letter, a digit or '_'"


@dataclass(frozen=True)
class Field:
    """One key: ``read`` turns the TOML value into ours or raises ValueError or TypeError with the reason."""

    read: Callable[[Any], Any]
    hint: str
    required: bool = False


def _name_of(value: object) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return kinds.get(type(value), type(value).__name__)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"must be a number, not {_name_of(value)}")
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return float(value)


def between(low: float, high: float, *, above: bool = False) -> Callable[[Any], float]:
    """A number in ``low..high``; ``above`` leaves ``low`` itself out."""

    def read(value: object) -> float:
        number = _number(value)
        if not low <= number <= high or (above and number == low):
            raise ValueError(f"must be {'above' if above else 'at least'} {low:g} and at most {high:g}")
        return number

    return read


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number in ``low..high``."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be a whole number, not {_name_of(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return read


def _measured(parse: Callable[[str | float], float], low: float, high: float) -> Callable[[Any], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError(f"must be a number or a text with a unit, not {_name_of(value)}")
        number = parse(value) if isinstance(value, str) else _number(value)
        return between(low, high)(number)

    return read


def size(low: int, high: int = 1 << 50) -> Callable[[Any], int]:
    """Bytes, as a number or such as ``"512M"``."""
    read = _measured(parse_size, low, high)
    return lambda value: int(read(value))


def seconds(low: float, high: float = 10 * 366 * 86400.0) -> Callable[[Any], float]:
    """Seconds, as a number or such as ``"15m"``."""
    return _measured(parse_seconds, low, high)


def text(value: object) -> str:
    """Any text without NUL."""
    if not isinstance(value, str):
        raise TypeError(f"must be a text, not {_name_of(value)}")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def label(value: object) -> str:
    """A text for the screen: refused, not altered, when it holds anything unprintable."""
    shown = scrub(text(value))
    if shown != value:
        raise ValueError("must be printable and at most 240 characters")
    return shown


def filled(value: object) -> str:
    """A text that is not empty."""
    if not text(value).strip():
        raise ValueError("must not be empty")
    return str(value)


def name(value: object) -> str:
    """A name that may stand in a path, such as that of the fleet's socket."""
    if not NAME.fullmatch(text(value)):
        raise ValueError("is not a usable name")
    return label(value)


def word(value: object) -> str:
    """A text without blanks that is no option: an address, a user, the name of a backend."""
    if not text(value) or not label(value).isascii() or " " in str(value) or str(value).startswith("-"):
        raise ValueError("must be one word of printable ASCII that begins without a dash")
    return str(value)


def user(value: object) -> str:
    """A user's name, or nothing for the one that the SSH configuration gives."""
    return word(value) if value else text(value)


def choice(*allowed: str) -> Callable[[Any], str]:
    """One of the given words."""

    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError(f"must be true or false, not {_name_of(value)}")
    return value


def keys(value: object) -> tuple[int, int]:
    """A half-open key range ``[lo, hi]`` within 0..65536."""
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("must be a list of two numbers, [first, end]")
    low, high = (whole(0, 65536)(v) for v in value)
    if low >= high:
        raise ValueError("must have its first key below its end")
    return low, high


def labels(value: object) -> tuple[str, ...]:
    """A list of names."""
    if not isinstance(value, list):
        raise TypeError(f"must be a list of names, not {_name_of(value)}")
    return tuple(label(v) for v in value)


_FRACTION: Final = "write a fraction, such as 0.8 for 80 %"
_SECONDS: Final = 'write seconds or a duration, such as "15m"'
_SIZE: Final = 'write bytes or a size, such as "512M"'
_TEXT: Final = 'write a text in quotes, such as "h1"'
_CORES: Final = "write cores, such as 4 or 0.5"
_SWITCH: Final = "write true or false without quotes"
_COMMAND: Final = "write the command as one text; the host's shell runs it"

FIELDS: Final[dict[str, dict[str, Field]]] = {
    "fleet": {
        "name": Field(name, NAME_HINT),
        "level": Field(choice("off", "advise", "full"), 'write level = "advise"'),
        "interval": Field(seconds(0.1, 3600), _SECONDS),
        "router": Field(text, "write the path of the router's socket"),
        "banner": Field(label, _TEXT),
        "notice": Field(label, _TEXT),
    },
    "ssh": {
        "known_hosts": Field(text, "write the path of a known_hosts file"),
        "identity": Field(text, "write the path of a private key"),
        "connect_timeout": Field(seconds(0.1, 600), _SECONDS),
        "user": Field(user, 'write user = "ops", or leave it out'),
    },
    "policy": {
        "name": Field(label, _TEXT),
        "quantile": Field(between(0.05, 0.99), _FRACTION),
        "threshold_cpu": Field(between(0, 1.5, above=True), _FRACTION),
        "threshold_memory": Field(between(0, 1, above=True), _FRACTION),
        "min_probability": Field(between(0, 1, above=True), _FRACTION),
        "min_duration": Field(seconds(0), _SECONDS),
        "horizon": Field(seconds(1), _SECONDS),
        "margin": Field(seconds(0), _SECONDS),
        "max_moves": Field(whole(1, 100000), "write a whole number, such as 8"),
        "settle": Field(seconds(0), _SECONDS),
        "min_gain": Field(between(0, 1), _FRACTION),
        "common_factor": Field(between(0, 1), _FRACTION),
        "expire": Field(seconds(1), _SECONDS),
        "observe": Field(seconds(0, 3600), _SECONDS),
        "step_deadline": Field(seconds(0.1, 86400), _SECONDS),
    },
    "oracle": {
        "enabled": Field(flag, _SWITCH),
        "model": Field(filled, 'write model = "trend"'),
        "season": Field(seconds(0), _SECONDS),
        "step": Field(seconds(0.1, 86400), _SECONDS),
        "min_steps": Field(whole(1, 1000000), "write a whole number, such as 20"),
        "deadline": Field(seconds(0.1, 600), _SECONDS),
    },
    "host": {
        "address": Field(word, 'write address = "10.0.0.7" or a name', required=True),
        "port": Field(whole(1, 65535), "write a port between 1 and 65535"),
        "user": Field(user, 'write user = "ops", or leave it out'),
        "cpu": Field(between(0, 4096, above=True), _CORES, required=True),
        "memory": Field(size(1 << 20), _SIZE, required=True),
        "reserve_cpu": Field(between(0, 4096), _CORES),
        "reserve_memory": Field(size(0), _SIZE),
        "zone": Field(label, _TEXT),
        "cost": Field(between(0, 1e9), "write the cost per hour as a number"),
        "cordoned": Field(flag, _SWITCH),
    },
    "shard": {
        "app": Field(name, NAME_HINT, required=True),
        "host": Field(label, 'write host = "h1"', required=True),
        "backend": Field(word, 'write backend = "process"'),
        "driver": Field(choice("restart", "hook"), 'write driver = "restart" or "hook"'),
        "start": Field(filled, _COMMAND, required=True),
        "save": Field(text, _COMMAND),
        "load": Field(text, _COMMAND),
        "quiesce": Field(text, _COMMAND),
        "resume": Field(text, _COMMAND),
        "ready": Field(text, _COMMAND),
        "port": Field(whole(0, 65535), "write a port between 1 and 65535, or leave it out"),
        "keys": Field(keys, "write keys = [0, 32768]"),
        "priority": Field(whole(1, 5), "write 1 (highest) to 5"),
        "pinned": Field(flag, _SWITCH),
        "avoid": Field(labels, 'write avoid = ["kv-02"]'),
    },
}
