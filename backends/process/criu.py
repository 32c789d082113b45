"""Driver ``criu``: why a host cannot move processes with their memory, by name, with what helps.

``criu.sh`` finds out; what it says is ``CODE: text``. docs/reasons.md explains the codes, and a test holds it against
this table.
"""

from __future__ import annotations

import re
from typing import Final

from sidestep.fleet.errors import HostIncapable

_SAID: Final = re.compile(r"([A-Z]+(?:_[A-Z]+)+): (.*)", re.DOTALL)

#: code -> the command that shows it on the host, and the remedy
REMEDIES: Final = {
    "CRIU_MISSING": ("criu --version", "install criu there (Debian: apt install criu; kernels from 6.16 on need 4.2)"),
    "CRIU_PRIVILEGE": ("unshare --pid true", "connect as root, to a host or container that lets root make namespaces"),
    "CRIU_KERNEL": ("criu check", "install a newer criu there (kernels from 6.16 on need 4.2), or use another driver"),
    "CRIU_TOOLS": ("command -v unshare setsid", "install util-linux there"),
    "CRIU_SOCKETS": ("criu --version", "install criu 4.2 or newer there"),
    "CRIU_NAMESPACE": ("grep NSpid /proc/PID/status", "restart the shard with driver criu, outside of any container"),
    "CRIU_PATH": ("echo $HOME", "connect to both hosts as the same user, with the same home"),
    "CRIU_ADDRESS": ("ss -ltnp", "let the shard listen on every address"),
    "CRIU_PORT": ("ss -ltnp", "free the port there, or give the shard a port that is free on every host"),
    "CRIU_VERSION": ("criu --version; uname -r", "bring criu and the kernel there up to the source's"),
    "CRIU_CPU": ("lscpu", "move it to a host with the same or newer processors"),
    "CRIU_FILES": ("sha256sum FILE", "install the same version of it on both hosts"),
    "CRIU_REFUSED": ("criu", "remove what criu names from the process, or use another driver"),
}


def incapable(host: str, step: str, message: str, *, tail: str | bytes = "") -> HostIncapable:
    """The error for what ``cannot`` of criu.sh said."""
    found = _SAID.fullmatch(message)
    code, text = (found[1], found[2]) if found else ("CRIU_REFUSED", message)
    command, remedy = REMEDIES.get(code, ("criu", ""))
    return HostIncapable(host, step, text, code=code, command=command, tail=tail, hint=remedy)
