"""How values of the fleet file are read: each reader checks one kind and says its JSON Schema."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.resources import parse_seconds, parse_size

#: names end up in paths, commands and keys: no blank, no slash, no leading dot or dash
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
NAME_HINT: Final = "1 to 63 of letters, digits, '.', '_', '-'; begin with a letter, a digit or '_'"
MAX_LABELS: Final = 64

_SECRET_TEXT: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File", re.IGNORECASE)
_SECRET_KEY: Final = re.compile(r"pass|pas[wp]|pwd|secret|token|private|credential", re.IGNORECASE)
_SIZE: Final = r"^\s*\d+(\.\d+)?\s*[KkMmGgTt]?[Ii]?[Bb]?\s*$"
_TIME: Final = r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w)?\s*$"
_PERCENT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_JUMP: Final = re.compile(r"(?:[^\s,@/-][^\s,@/]*@)?(?:\[[0-9A-Fa-f:.%a-z]+\]|[^\s,@:\[\]-][^\s,@:\[\]]*)(?::\d{1,5})?")

T = TypeVar("T")


class SecretFound(ValueError):
    """A value is a secret, or may be one; it is not to be shown."""


class Percent(float):
    """A share of a capacity that may not be known yet, in percent."""


@dataclass(frozen=True, eq=False)
class Reader(Generic[T]):
    """Turns a TOML value into ours, or raises ValueError or TypeError with the reason.

    ``schema`` accepts everything that the reader accepts, and as little else as JSON Schema can say.
    """

    read: Callable[[Any], T]
    schema: Mapping[str, Any]

    def __call__(self, value: Any) -> T:
        """The value, checked."""
        return self.read(value)


def reads(**schema: Any) -> Callable[[Callable[[Any], T]], Reader[T]]:
    """Make a reader of a function."""
    return lambda read: Reader(read, schema)


def looks_secret(key: str) -> bool:
    """Whether a key of that name would hold a secret."""
    return _SECRET_KEY.search(key) is not None


def refuse_secrets(value: object) -> None:
    """Raise SecretFound for the text of a private key, also within lists and tables."""
    if isinstance(value, str) and _SECRET_TEXT.search(value):
        raise SecretFound("holds the text of a private key")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            refuse_secrets(item)


def name_of(value: object) -> str:
    """The kind of a TOML value, for messages."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return kinds.get(type(value), type(value).__name__)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"must be a number, not {name_of(value)}")
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return float(value)


def between(low: float, high: float, *, above: bool = False) -> Reader[float]:
    """A number in ``low..high``; ``above`` leaves ``low`` itself out."""

    @reads(type="number", maximum=high, **{"exclusiveMinimum" if above else "minimum": low})
    def read(value: object) -> float:
        number = _number(value)
        if not low <= number <= high or (above and number == low):
            raise ValueError(f"must be {'above' if above else 'at least'} {low:g} and at most {high:g}")
        return number

    return read


def whole(low: int, high: int) -> Reader[int]:
    """A whole number in ``low..high``."""

    @reads(type="integer", minimum=low, maximum=high)
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be a whole number, not {name_of(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return read


def _measured(parse: Callable[[str | float], float], low: float, high: float, pattern: str) -> Reader[float]:
    number_or_text = [{"type": "number", "minimum": low, "maximum": high}, {"type": "string", "pattern": pattern}]

    @reads(anyOf=number_or_text)
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError(f"must be a number or a text with a unit, not {name_of(value)}")
        number = parse(value) if isinstance(value, str) else _number(value)
        return between(low, high)(number)

    return read


def size(low: int, high: int = 1 << 50) -> Reader[int]:
    """Bytes, as a number or such as ``"512M"``."""
    measured = _measured(parse_size, low, high, _SIZE)
    return Reader(lambda value: int(measured(value)), measured.schema)


def seconds(low: float, high: float = 10 * 366 * 86400.0) -> Reader[float]:
    """Seconds, as a number or such as ``"15m"``."""
    return _measured(parse_seconds, low, high, _TIME)


def automatic(measured: Reader[float]) -> Reader[float]:
    """The same, or 0 for what is found out by itself."""
    number, *texts = measured.schema["anyOf"]

    @reads(anyOf=[{**number, "minimum": 0}, *texts])
    def read(value: object) -> float:
        given = parse_seconds(value) if isinstance(value, str) else value
        return 0.0 if given == 0 and not isinstance(value, bool) else measured(value)

    return read


def reserve(absolute: Reader[T]) -> Reader[T | Percent]:
    """An amount, or a share of the capacity such as ``"10%"`` (below 100)."""
    share = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"}

    @reads(anyOf=[*absolute.schema.get("anyOf", [absolute.schema]), share])
    def read(value: object) -> T | Percent:
        found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return absolute(value)
        percent = Percent(found[1])
        if percent >= 100:
            raise ValueError("must be below 100 %")
        return percent

    return read


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a text, not {name_of(value)}")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _label(value: object) -> Label:
    shown = scrub(_text(value))
    if shown != value:
        raise ValueError("must be printable and at most 240 characters")
    return shown


def _filled(value: object) -> str:
    if not _text(value).strip():
        raise ValueError("must not be empty")
    return str(value)


def _name(value: object) -> Label:
    if not NAME.fullmatch(_text(value)):
        raise ValueError("is not a usable name")
    return _label(value)


def _word(value: object) -> str:
    if not _text(value) or not _label(value).isascii() or " " in str(value) or str(value).startswith("-"):
        raise ValueError("must be one word of printable ASCII that begins without a dash")
    return str(value)


#: any text without NUL
text: Final = Reader(_text, {"type": "string"})
#: a text for the screen: refused, not altered, when it holds anything unprintable
label: Final = Reader(_label, {"type": "string", "maxLength": 240})
#: a text that is not empty
filled: Final = Reader(_filled, {"type": "string", "pattern": r"\S"})
#: a name that may stand in a path, such as that of the fleet's socket
name: Final = Reader(_name, {"type": "string", "pattern": f"^{NAME.pattern}$"})
#: a text without blanks that is no option: an address, the name of a backend
word: Final = Reader(_word, {"type": "string", "pattern": r"^[!-,.-~][!-~]*$", "maxLength": 240})
#: a user's name, or nothing for the one that the SSH configuration gives
user: Final = Reader(lambda value: _word(value) if value else _text(value), {"type": "string", "pattern": r"^[!-~]*$"})


_FOLDER: Final = r"^(/[A-Za-z0-9_@+,.-]+)*$"
#: bytes that Linux takes as the path of a socket, but for the number that is put behind it
_SOCKET: Final = 107 - len(".0123abcd")


@reads(type="string", pattern=_FOLDER)
def folder(value: object) -> str:
    """An absolute path that units and shells take as it is, or nothing."""
    if not re.fullmatch(_FOLDER, _text(value)) or any(part in {".", ".."} for part in str(value).split("/")):
        raise ValueError("must be an absolute path of letters, digits and _@+,.-")
    return str(value)


@reads(type="string", pattern=r"^(/[A-Za-z0-9_@+,.-]+)*\.locks$|^$", maxLength=_SOCKET)
def lock_socket(value: object) -> str:
    """The path of a socket for locks, or nothing; its ending keeps other sockets from being replaced by mistake."""
    path = folder(value)
    if path and (not path.endswith(".locks") or len(path) > _SOCKET):
        raise ValueError(f"must be an absolute path of at most {_SOCKET} characters that ends in .locks")
    return path


def choice(*allowed: str) -> Reader[str]:
    """One of the given words."""

    @reads(enum=list(allowed))
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


@reads(type="boolean")
def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError(f"must be true or false, not {name_of(value)}")
    return value


@reads(type="array", items={"type": "integer", "minimum": 0, "maximum": 65536}, minItems=2, maxItems=2)
def keys(value: object) -> tuple[int, int]:
    """A half-open key range ``[lo, hi]`` within 0..65536."""
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("must be a list of two numbers, [first, end]")
    low, high = (whole(0, 65536)(v) for v in value)
    if low >= high:
        raise ValueError("must have its first key below its end")
    return low, high


@reads(type="array", items={"type": "integer", "minimum": 1, "maximum": 65535}, minItems=2, maxItems=2)
def ports(value: object) -> tuple[int, int]:
    """The first and the last of a range of ports, ``[first, last]``."""
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("must be a list of two ports, [first, last]")
    low, high = (whole(1, 65535)(v) for v in value)
    if low > high:
        raise ValueError("must have its first port not above its last")
    return low, high


@reads(type="array", items={"type": "string", "maxLength": 240})
def names(value: object) -> tuple[Label, ...]:
    """A list of names."""
    if not isinstance(value, list):
        raise TypeError(f"must be a list of names, not {name_of(value)}")
    return tuple(_label(v) for v in value)


def _distinct(found: tuple[T, ...]) -> tuple[T, ...]:
    """At least one, and none twice."""
    if not found:
        raise ValueError("must name at least one")
    again = next((item for at, item in enumerate(found) if item in found[:at]), None)
    if again is not None:
        raise ValueError(f"names {again} twice")
    return found


def chosen(*allowed: str) -> Reader[tuple[str, ...]]:
    """A list of some of the given words, in the order written."""
    one = choice(*allowed)

    @reads(type="array", items=one.schema, minItems=1, uniqueItems=True)
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise TypeError(f"must be a list of some of {', '.join(allowed)}, not {name_of(value)}")
        for item in value:
            if item not in allowed:
                raise ValueError(f"has {scrub(str(item), 80)}, which is none of {', '.join(allowed)}")
        return _distinct(tuple(value))

    return read


@reads(type="array", items={"type": "string", "pattern": f"^{NAME.pattern}$"}, minItems=1, uniqueItems=True)
def distinct(value: object) -> tuple[Label, ...]:
    """A list of names, each once: of policies, or of goals."""
    if not isinstance(value, list):
        raise TypeError(f"must be a list of names, not {name_of(value)}")
    return _distinct(tuple(_name(item) for item in value))


@reads(type="array", items={"type": "string", "pattern": f"^{NAME.pattern}$"}, uniqueItems=True)
def named(value: object) -> tuple[Label, ...]:
    """The same, which may also be empty: of constraints."""
    return () if value == [] else distinct(value)


@reads(type="array", items={"type": "integer", "minimum": 1, "maximum": 1000}, minItems=2, maxItems=2)
def windows(value: object) -> tuple[int, int]:
    """Two numbers, ``[m, n]``: m of the last n."""
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("must be a list of two numbers, [m, n]")
    least, most = (whole(1, 1000)(v) for v in value)
    if least > most:
        raise ValueError("must not ask for more windows than it looks at")
    return least, most


@reads(
    type="object",
    propertyNames={"pattern": f"^{NAME.pattern}$"},
    additionalProperties={"type": "string", "maxLength": 240},
    maxProperties=MAX_LABELS,
)
def labels(value: object) -> tuple[tuple[Label, Label], ...]:
    """A table of labels, sorted by their keys."""
    if not isinstance(value, dict):
        raise TypeError(f"must be a table of labels, not {name_of(value)}")
    if len(value) > MAX_LABELS:
        raise ValueError(f"must be at most {MAX_LABELS} labels")
    for key in value:
        if not NAME.fullmatch(key):
            raise ValueError(f"has a key that is not a usable name: {scrub(key, 80)}")
    return tuple(sorted((_label(key), _label(item)) for key, item in value.items()))


@reads(type="string", pattern=r"^((file|command):\S.*)?$")
def reference(value: object) -> str:
    """Where a secret is to be had: ``file:PATH`` or ``command:LINE``; never the secret itself."""
    said = _text(value)
    kind, _, where = said.partition(":")
    if said and (kind not in {"file", "command"} or not where.strip()):
        raise SecretFound("must say where the secret is, not what it is")
    return said


@reads(type="string", maxLength=240)
def jump(value: object) -> str:
    """Hosts to go through as ProxyJump writes them, ``none`` for no such host."""
    said = _label(value)
    if said and said != "none" and not all(_JUMP.fullmatch(hop) for hop in said.split(",")):
        raise ValueError("must be hosts to go through, [user@]host[:port], with commas between them")
    return said
