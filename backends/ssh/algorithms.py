"""Algorithms that we offer to hosts, and lists of ssh_config applied to them."""

from __future__ import annotations

from typing import Final

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_default_kex_algs, get_kex_algs
from asyncssh.mac import get_default_mac_algs, get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from sidestep.backends.ssh.sshconfig_words import matches

#: AES-GCM first: twice as fast as the others, and all of them authenticate what they carry or come with a MAC
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
HOST_KEYS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
CERTIFIED: Final = tuple(f"{name}-cert-v01@openssh.com" for name in HOST_KEYS)


def _names(algorithms: list[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("ascii") for name in algorithms)


#: what is offered without a word in ssh_config
OFFERED: Final[dict[str, tuple[str, ...]]] = {
    "ciphers": CIPHERS,
    # Exchanges over Kerberos need what we do not ask for.
    "kexalgorithms": tuple(name for name in _names(get_default_kex_algs()) if not name.startswith("gss-")),
    "macs": _names(get_default_mac_algs()),
    "hostkeyalgorithms": CERTIFIED + HOST_KEYS,
}
#: what could be offered
POSSIBLE: Final[dict[str, frozenset[str]]] = {
    "ciphers": frozenset(_names(get_encryption_algs())),
    "kexalgorithms": frozenset(_names(get_kex_algs())),
    "macs": frozenset(_names(get_mac_algs())),
    "hostkeyalgorithms": frozenset(_names(get_public_key_algs()) + _names(get_certificate_algs())),
}


def chosen(keyword: str, value: str) -> tuple[str, ...]:
    """The list that an option of ssh_config makes of ours: as it is, or with ``+``, ``-`` or ``^`` in front.

    Names that we cannot do are left out. Raises ValueError when none remains.
    """
    possible, ours = POSSIBLE[keyword], OFFERED[keyword]
    sign = value[:1] if value[:1] in ("+", "-", "^") else ""
    asked = tuple(name for name in value[len(sign) :].split(",") if name)
    known = tuple(name for name in asked if name in possible)
    if sign == "-":
        left = tuple(name for name in ours if not any(matches(pattern, name) for pattern in asked))
    elif sign == "+":
        left = (*ours, *(name for name in known if name not in ours))
    elif sign == "^":
        left = (*known, *(name for name in ours if name not in known))
    else:
        left = known
    if not left:
        raise ValueError("leaves no algorithm that sidestep has")
    return tuple(dict.fromkeys(left))
