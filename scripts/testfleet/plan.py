"""What a fleet shall look like: names, addresses, layouts and limits, checked before anything is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

from msgspec import Struct

from sidestep.fleet.errors import UsageError

#: how a host's /sys/fs/cgroup looks: v1 controllers beside a cgroup2 "unified", or cgroup2 alone
Layout = Literal["hybrid", "unified"]
#: the best interpreter that the host has: what comes before it in this list is hidden from it
Interpreter = Literal["python", "perl", "awk", "sh"]

LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)
INTERPRETERS: Final[tuple[Interpreter, ...]] = get_args(Interpreter)
#: RFC 2544's range for tests; it exists only inside the fleet's own namespaces
NETWORK: Final = "198.18.0"
GATEWAY: Final = f"{NETWORK}.1"
MAX_HOSTS: Final = 200
_FIRST: Final = 10
_HOST: Final = re.compile(r"[a-z][a-z0-9-]{0,10}[a-z0-9]|[a-z]")
_FLEET: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)", re.ASCII)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: memory below which systemd and sshd do not come up
MIN_MEMORY: Final = 64 << 20

#: both layouts twice, and a host for every interpreter that a sampler can be made of
DEFAULT: Final = (
    "h1:layout=hybrid,cpu=1,memory=512M",
    "h2:layout=hybrid",
    "h3:layout=unified,cpu=1,memory=768M",
    "h4:layout=unified",
    "h5:layout=hybrid,interpreter=perl",
    "h6:layout=unified,interpreter=awk",
    "h7:layout=hybrid,interpreter=sh",
)


class HostPlan(Struct, frozen=True, kw_only=True):
    """One host: ``cpu`` in cores and ``memory`` in bytes, 0 is no limit."""

    name: str
    index: int
    layout: Layout = "hybrid"
    interpreter: Interpreter = "python"
    cpu: float = 0.0
    memory: int = 0

    @property
    def address(self) -> str:
        """Its IPv4 address; the same host has the same one at every start."""
        return f"{NETWORK}.{_FIRST + self.index}"

    @property
    def mac(self) -> str:
        """Its hardware address, so that neighbours find it again after a start."""
        return f"02:5e:00:00:00:{_FIRST + self.index:02x}"

    @property
    def link(self) -> str:
        """The end of its cable in the control namespace (at most 15 characters)."""
        return f"to-{self.name}"


def fleet_name(text: str) -> str:
    """``text`` if it can name folders, cgroups and a fleet. Raises UsageError."""
    if not _FLEET.fullmatch(text):
        raise UsageError(f"fleet {text!r}: a name has 1 to 20 of a-z, 0-9 and -, and begins with no -")
    return text


def size(text: str) -> int:
    """Bytes of ``512M``, ``1.5G`` or ``1048576``. Raises UsageError."""
    match = _SIZE.fullmatch(text.upper())
    if not match:
        raise UsageError(f"memory {text!r}: not a size", hint="write 512M or 1G")
    found = int(float(match[1]) * _UNITS[match[2]])
    if found < MIN_MEMORY:
        raise UsageError(f"memory {text!r}: a host needs at least {MIN_MEMORY >> 20}M")
    return found


def cores(text: str) -> float:
    """Cores of ``0.5``. Raises UsageError."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0.01 <= found <= 1024:
        raise UsageError(f"cpu {text!r}: not a number of cores from 0.01 to 1024", hint="write 0.5 for half a core")
    return found


def plan(hosts: Sequence[str], defaults: Sequence[str] = ()) -> tuple[HostPlan, ...]:
    """The hosts that ``NAME[:key=value,...]`` texts describe; ``defaults`` are ``key=value`` for all of them.

    Keys: layout, interpreter, cpu, memory. Raises UsageError naming the host and the value.
    """
    if not hosts:
        raise UsageError("a fleet needs at least one host")
    if len(hosts) > MAX_HOSTS:
        raise UsageError(f"{len(hosts)} hosts: at most {MAX_HOSTS} fit into {NETWORK}.0/24")
    common = _fields("defaults", defaults)
    plans: list[HostPlan] = []
    for index, text in enumerate(hosts):
        name, _, rest = text.partition(":")
        if not _HOST.fullmatch(name):
            raise UsageError(f"host {name!r}: a name has 1 to 12 of a-z, 0-9 and -, a letter first and no - last")
        if any(p.name == name for p in plans):
            raise UsageError(f"host {name}: named twice")
        plans.append(_host(name, index, common | _fields(f"host {name}", rest.split(",") if rest else ())))
    return tuple(plans)


def _fields(where: str, pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in {"layout", "interpreter", "cpu", "memory"}:
            raise UsageError(f"{where}: {pair!r}: expected layout=, interpreter=, cpu= or memory=")
        found[key] = value
    return found


def _host(name: str, index: int, fields: dict[str, str]) -> HostPlan:
    layout = next((known for known in LAYOUTS if known == fields.get("layout", "hybrid")), None)
    if layout is None:
        raise UsageError(f"host {name}: layout {fields['layout']!r}: expected {' or '.join(LAYOUTS)}")
    interpreter = next((known for known in INTERPRETERS if known == fields.get("interpreter", "python")), None)
    if interpreter is None:
        raise UsageError(f"host {name}: interpreter {fields['interpreter']!r}: expected {', '.join(INTERPRETERS)}")
    return HostPlan(
        name=name,
        index=index,
        layout=layout,
        interpreter=interpreter,
        cpu=cores(fields["cpu"]) if "cpu" in fields else 0.0,
        memory=size(fields["memory"]) if "memory" in fields else 0,
    )
