"""What ssh itself makes of its configuration, compared with what we make of it.

``ssh -G`` prints the settings for a host without connecting. The doctor runs it and shows
where the two disagree, so that a mistake in our reading is found before it matters.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidestep.backends.ssh.resolve import beside, hop_of, tokens
from sidestep.backends.ssh.sshconfig_words import expand, variables
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import scrub

Compare = Callable[[str, str, str], None]
_FILES: Final = ("userknownhostsfile", "globalknownhostsfile")


def question(host: HostSpec, fleet: FleetSpec) -> tuple[str, ...]:
    """The command that asks ssh about a host, with what the fleet file says as options."""
    words = ["ssh", "-G"]
    if fleet.ssh_config:
        words += ["-F", fleet.ssh_config if fleet.ssh_config == "none" else str(beside(fleet, fleet.ssh_config))]
    if host.user:
        words += ["-l", host.user]
    if host.port != 22:
        words += ["-p", str(host.port)]
    if host.jump and host.jump != "none":
        words += ["-J", host.jump]
    return (*words, "--", host.address)


def differences(target: SshTarget, ssh_g_output: str) -> tuple[str, ...]:
    """Where ssh would go elsewhere, or as somebody else, than ``target``; one sentence each, empty if nowhere.

    Identities and known_hosts are compared when ``target`` has them from ssh_config; those
    of the fleet file are meant to differ.
    """
    first: dict[str, str] = {}
    every: dict[str, list[str]] = {}
    for line in ssh_g_output.splitlines():
        keyword, _, value = line.partition(" ")
        every.setdefault(keyword.lower(), []).append(value.strip())
        first.setdefault(keyword.lower(), value.strip())
    found: list[str] = []
    meaning = tokens(first.get("host", ""), target.address, target.port, target.user, target.host_key_alias)

    def paths(words: list[str]) -> str:
        named = [w for w in words if w.lower() != "none"]
        return " ".join(_expanded(w, meaning) for w in named) or " ".join(words[:1])

    def compare(what: str, ours: str, theirs: str) -> None:
        if ours != theirs:
            found.append(f"{what}: sidestep {scrub(ours) or 'nothing'}, ssh {scrub(theirs) or 'nothing'}")

    compare("hostname", target.address.lower(), first.get("hostname", "").lower())
    compare("port", str(target.port), first.get("port", ""))
    compare("user", target.user or getpass.getuser(), first.get("user", ""))
    compare("hostkeyalias", target.host_key_alias, first.get("hostkeyalias", ""))
    compare("addressfamily", target.family, first.get("addressfamily", "any"))
    if target.identities_optional and target.identities:
        compare("identityfile", " ".join(target.identities), paths(every.get("identityfile", [])))
        compare("identitiesonly", "yes" if target.identities_only else "no", first.get("identitiesonly", "no"))
    if target.identities_optional:
        compare("certificatefile", " ".join(target.certificates), paths(every.get("certificatefile", [])))
    _compare_agent(target, first.get("identityagent", ""), paths, compare)
    _compare_times(target, first, compare)
    if target.known_hosts:
        words = [word for keyword in _FILES for word in first.get(keyword, "").split() if word != "none"]
        compare("known_hosts", " ".join(target.known_hosts), paths(words) or "/dev/null")
    if jump := _jump_difference(target, first.get("proxyjump", "none"), meaning):
        found.append(jump)
    if first.get("proxycommand", "none") != "none":
        found.append(f"proxycommand: ssh uses {scrub(first['proxycommand'])}, sidestep has none")
    return tuple(found)


def _compare_agent(target: SshTarget, theirs: str, paths: Callable[[list[str]], str], compare: Compare) -> None:
    if theirs in ("", "SSH_AUTH_SOCK"):
        compare("identityagent", target.agent, "")
    elif theirs == "none" or not theirs.startswith("$"):
        compare("identityagent", target.agent, paths([theirs]))


def _compare_times(target: SshTarget, first: dict[str, str], compare: Compare) -> None:
    # What ssh does not set is the fleet's to say.
    if first.get("connecttimeout", "none") not in ("none", "0"):
        compare("connecttimeout", f"{target.connect_timeout:g}", first["connecttimeout"])
    # Debian's ssh says 300 by itself with BatchMode.
    unset = ("0", "300") if first.get("batchmode") == "yes" else ("0",)
    if first.get("serveraliveinterval", "0") not in unset:
        compare("serveraliveinterval", f"{target.keepalive:g}", first["serveraliveinterval"])
    if first.get("serveralivecountmax", "3") not in ("0", "3"):
        compare("serveralivecountmax", str(target.keepalive_count), first["serveralivecountmax"])


def _jump_difference(target: SshTarget, theirs: str, meaning: dict[str, str]) -> str:
    """ssh names its hops and resolves them later; ours are resolved, with the first one's own jumps before them."""
    try:
        asked = [] if theirs == "none" else [hop_of(part) for part in expand(theirs, meaning).split(",")]
    except ValueError as error:
        return f"proxyjump: ssh says {scrub(theirs)}, which {error}"
    ours = target.jumps[len(target.jumps) - len(asked) :] if asked else target.jumps
    same = len(ours) == len(asked) and all(
        hop.name == ask.name and ask.port in (0, hop.port) and ask.user in ("", hop.user)
        for hop, ask in zip(ours, asked, strict=True)
    )
    shown = ",".join(f"{hop.name}:{hop.port}" for hop in target.jumps) or "none"
    return "" if same else f"proxyjump: sidestep {shown}, ssh {scrub(theirs)}"


def _expanded(word: str, meaning: dict[str, str]) -> str:
    try:
        return str(Path(expand(variables(word, os.environ), meaning)).expanduser().absolute())
    except (ValueError, RuntimeError):
        return word
