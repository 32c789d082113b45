"""From what was seen of a host to findings. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from sidestep.autopilot.doctor.findings import Finding, State, found
from sidestep.autopilot.doctor.probe import Seen
from sidestep.backends.process.able import Ability
from sidestep.fleet.errors import AuthenticationRefused, ConfigError, HostError, HostKeyRefused, HostUnreachable
from sidestep.fleet.extensions import PluginError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import show_size

#: seconds that a host's clock may be wrong, and whole seconds that ``date`` adds to that
SKEW: Final = 2.0
COARSE: Final = 1.5
#: bytes that should be free, and that must be, for the state of shards
LITTLE: Final = 1 << 30
TOO_LITTLE: Final = 64 << 20
#: seconds that a command that does nothing may take
SLOW: Final = 1.0
#: kinds of refused host keys, and what errors about them say
_KEYS: Final = {
    "revoked": " is revoked",
    "changed": " has changed",
    "unknown": " is unknown",
    "not signed": " is not signed",
}
#: by how much what the kernel keeps for itself may make memory smaller than what was bought
_ROUNDED: Final = 0.1
_DIGESTS: Final = ("sha256sum", "shasum", "openssl")
_SAMPLERS: Final = ("python3", "perl", "awk")


def configuration(host: str, error: ConfigError | PluginError) -> Finding:
    """ssh_config, or the transport that the fleet file names, cannot be used for the host."""
    remedy = error.hint or "correct it"
    about = "transport" if isinstance(error, PluginError) else "ssh_config"
    return found(host, about, "problem", str(error.args[0]), remedy=remedy)


def differs(host: str, differences: Sequence[str]) -> Finding:
    """Where ssh itself reads ssh_config in another way."""
    if not differences:
        return found(host, "ssh_config", "ok", "read as ssh reads it")
    remedy = "compare with ssh -G; write what you mean into the fleet file, which wins over ssh_config"
    return found(host, "ssh_config", "warning", "ssh would do otherwise", detail="; ".join(differences), remedy=remedy)


def no_name(host: str, address: str, why: str) -> Finding:
    """The address is a name that nobody knows."""
    remedy = "correct the address in the fleet file, or make the name known (DNS, /etc/hosts)"
    return found(host, "name", "problem", "the address cannot be resolved", detail=f"{address}: {why}", remedy=remedy)


def refused(host: str, error: HostError) -> Finding:
    """Why there is no connection, from the error that dialling ended with."""
    text, detail = _short(error), str(error.args[0])
    match error:
        case HostKeyRefused():
            kind = next((kind for kind, phrase in _KEYS.items() if phrase in text), "refused")
            remedy = {
                "unknown": "compare the fingerprint with the host's own, then: sidestep trust HOST",
                "changed": "find out why: someone may be listening in. If the host was reinstalled, compare the "
                "fingerprint on its own console, remove the line that is named here, then: sidestep trust HOST",
                "revoked": "do not connect: the key is known to be compromised; give the host a new one",
                "not signed": "sign the host's key for its address, or add the key itself to known_hosts",
            }.get(kind, error.hint)
            said = "not signed by a trusted authority" if kind == "not signed" else kind
            return found(host, "host key", "problem", said, detail=detail, remedy=remedy)
        case AuthenticationRefused():
            remedy = error.hint or "add the public key to ~/.ssh/authorized_keys of that user"
            return found(host, "login", "problem", "our identity is refused", detail=detail, remedy=remedy)
        case HostUnreachable():
            return found(host, "connection", "problem", "no connection", detail=detail, remedy=error.hint)
    return found(host, "connection", "problem", "no connection", detail=detail, remedy=error.hint)


def unreachable(host: str, error: HostError, *, tcp: str, banner: bytes | None) -> Finding:
    """Why there is no connection, with what a plain TCP connection saw.

    ``tcp`` is why there was none, empty when there was; ``banner`` is what the other side
    said first, None when it said nothing.
    """
    detail = str(error.args[0])
    if tcp == "refused":
        text, remedy = "the port is closed", "start sshd there, or correct the port in the fleet file"
    elif tcp == "silent":
        text, remedy = (
            "does not answer",
            "is it switched on, and does a firewall let us through? Correct the address, or set jump for the host",
        )
    elif tcp:
        text, remedy = "cannot be reached", f"correct the address, or the way there ({tcp})"
    elif banner is None:
        text, remedy = (
            "accepts connections but stays silent",
            "what listens there? An sshd that hangs (UseDNS, full disk, no memory), or a port of something else",
        )
    elif not banner.startswith(b"SSH-"):
        text, remedy = "something other than sshd answers", "correct the port in the fleet file"
        detail = f"it says {scrub(banner[:60])}"
    else:
        text = "sshd answers, but there is no login"
        remedy = error.hint or "look at sshd's log on the host; MaxStartups drops connections that wait to log in"
    return found(host, "connection", "problem", text, detail=detail, remedy=remedy)


def about_jump(error: HostError) -> bool:
    """Whether it is a jump host that failed."""
    return _short(error).startswith("jump host ")


def jump_failed(host: str, error: HostError) -> Finding:
    """A jump host could not be passed."""
    remedy = f"{error.hint}; " if error.hint else ""
    return found(host, "jump host", "problem", _short(error), remedy=f"{remedy}try the jump host with ssh first")


def connected(host: str, user: str, said: str, through: Sequence[str]) -> list[Finding]:
    """What a login shows to be well."""
    way = f" through {', '.join(through)}" if through else ""
    return [
        found(host, "host key", "ok", "known"),
        found(host, "login", "ok", f"as {user} with {said}{way}"),
    ]


def crowded(host: str, limit: int, wanted: int) -> Finding:
    """The host's sshd dropped handshakes until we made fewer at a time."""
    remedy = f"raise MaxStartups in its sshd_config, or set handshakes_per_address = {limit} under [ssh]"
    text = f"sshd drops connections when {wanted} log in at a time; {limit} went well"
    return found(host, "MaxStartups", "warning", text, remedy=remedy)


def sessions(host: str, opened: int, wanted: int, why: str) -> Finding:
    """How many sessions one connection may have."""
    if opened >= wanted:
        return found(host, "MaxSessions", "ok", f"{wanted} sessions on one connection")
    remedy = f"set MaxSessions {wanted + 2} in its sshd_config and reload sshd"
    text = f"only {opened} sessions on one connection, {wanted} are used"
    return found(host, "MaxSessions", "problem" if opened < 2 else "warning", text, detail=why, remedy=remedy)


def within(host: str, seen: Seen) -> list[Finding]:
    """What the host says about itself."""
    rows = [_noise(host, seen.noise), _tools(host, seen.tools), _folder(host, seen.said)]
    if seen.free is not None:
        state: State = "problem" if seen.free < TOO_LITTLE else "warning" if seen.free < LITTLE else "ok"
        text = "enough for shards' state" if state == "ok" else "little is free for shards' state"
        remedy = "" if state == "ok" else "free some, or set XDG_STATE_HOME for the user to a larger file system"
        detail = f"{show_size(seen.free)} free at {seen.said.get('nearest', '?')}"
        rows.append(found(host, "disk", state, text, detail=detail, remedy=remedy))
    return rows


def _noise(host: str, noise: bytes) -> Finding:
    if not noise:
        return found(host, "login shell", "ok", "silent, as it must be")
    remedy = "let its start-up files print to terminals only: put [ -t 1 ] || return at the top of ~/.bashrc"
    shown = f"{len(noise)} bytes, beginning with {scrub(noise[:60].strip())}"
    return found(host, "login shell", "warning", "prints text before commands", detail=shown, remedy=remedy)


def _tools(host: str, tools: Mapping[str, str]) -> Finding:
    lack = []
    if not any(tool in tools for tool in _DIGESTS):
        lack.append("a tool for SHA-256 (coreutils)")
    if "setsid" not in tools and "python3" not in tools:
        lack.append("setsid (util-linux) or python3")
    if "tar" not in tools:
        lack.append("tar")
    if lack:
        text = f"shards cannot be run or moved here without {', '.join(lack)}"
        return found(host, "tools", "problem", text, remedy="install them; observing works without")
    have = [tool for tool in _SAMPLERS if tool in tools]
    return found(host, "tools", "ok", f"{', '.join(have) or 'only sh'}; setsid, SHA-256 and tar")


def _folder(host: str, said: Mapping[str, str]) -> Finding:
    if not said.get("state"):
        remedy = "give the user a home, or set XDG_STATE_HOME for it"
        return found(host, "state folder", "problem", "neither HOME nor XDG_STATE_HOME is set", remedy=remedy)
    if said.get("writable") != "yes":
        detail = f"{said.get('state')}, of which {said.get('nearest', '?')} exists"
        remedy = "let the user write there, or set XDG_STATE_HOME for it"
        return found(host, "state folder", "problem", "cannot be written", detail=detail, remedy=remedy)
    return found(host, "state folder", "ok", "can be written")


def no_shell(host: str, error: HostError | None, stdout: bytes = b"") -> Finding:
    """Commands cannot be run, or do not say what they should."""
    remedy = 'let the user have a POSIX shell; for a key that allows no command set sampler = "sftp"'
    if error is not None:
        return found(host, "commands", "problem", "cannot be run", detail=str(error.args[0]), remedy=remedy)
    shown = scrub(stdout[:100].strip()) or "nothing"
    return found(host, "commands", "problem", "do not run to their end", detail=f"heard {shown}", remedy=remedy)


def clock(host: str, skew: float, error: float) -> Finding:
    """How far the host's clock is ahead; ``error`` is how far that may be wrong."""
    if math.isnan(skew):
        return found(host, "clock", "skipped", "could not be read")
    if abs(skew) <= SKEW + error:
        return found(host, "clock", "ok", f"within {SKEW + error:g} s of ours")
    side = "ahead of" if skew > 0 else "behind"
    remedy = "run an NTP client there (chrony, systemd-timesyncd), or look at the clock of this machine"
    return found(host, "clock", "warning", "differs from ours", detail=f"{abs(skew):.1f} s {side} ours", remedy=remedy)


def latency(host: str, seconds: Sequence[float]) -> list[Finding]:
    """How long a command that does nothing takes; none if none was run."""
    if not seconds:
        return []
    median = statistics.median(seconds)
    detail = f"{median * 1000:.0f} ms, median of {len(seconds)}"
    if median <= SLOW:
        return [found(host, "latency", "ok", f"a command takes less than {SLOW * 1000:.0f} ms", detail=detail)]
    remedy = "look at what its login shell does (~/.bashrc), at its load, and at the way there"
    return [found(host, "latency", "warning", "commands are slow", detail=detail, remedy=remedy)]


def sampled(host: str, kind: str, wanted: str, facts: Mapping[str, str]) -> list[Finding]:
    """The sampler runs: how, and what it says of the host."""
    rows = [found(host, "sampler", "ok", f"runs ({kind or 'unknown kind'})")]
    if wanted not in {"auto", kind} and kind:
        remedy = f'install it, or set sampler = "{kind}" or "auto" for the host'
        rows = [found(host, "sampler", "warning", f"{wanted} was asked for, {kind} runs", remedy=remedy)]
    text = ", ".join(f"{key} {facts[key]}" for key in ("os", "cgroup", "container", "psi") if key in facts)
    cores, memory = _number(facts.get("cpus", "")), _number(facts.get("memory", ""))
    rows.append(found(host, "facts", "ok", text or "none", detail=f"{cores:g} cores, {show_size(memory)}B"))
    if facts.get("container") == "bare":
        remedy = "mount lxcfs in the container, or declare cpu and memory in the fleet file"
        rows.append(found(host, "container", "warning", "shows the numbers of its machine", remedy=remedy))
    if facts.get("psi") == "no":
        remedy = "boot it with psi=1; contention is then seen earlier"
        rows.append(found(host, "psi", "warning", "the kernel tells no pressure", remedy=remedy))
    return rows


def capacity(spec: HostSpec, facts: Mapping[str, str]) -> list[Finding]:
    """What the fleet file says the host has, against what it says itself."""
    rows = []
    has = _number(facts.get("cpus", "")), _number(facts.get("memory", ""))
    left = spec.allocatable(*has)
    for kind, declared, there, free, shown in (
        ("cpu", spec.cpu, has[0], left[0], "{:g} cores".format),
        ("memory", spec.memory, has[1], left[1], show_size),
    ):
        if declared > there * (1 + _ROUNDED):
            text, detail = f"more {kind} is declared than there is", f"{shown(declared)} of {shown(there)}"
            remedy = f"correct {kind} in the fleet file, or leave it out to have it discovered"
            rows.append(found(spec.name, "capacity", "warning", text, detail=detail, remedy=remedy))
        if math.isnan(free) and not math.isnan(there):
            text, remedy = f"the reserve leaves no {kind}", f"lower reserve_{kind} in the fleet file"
            rows.append(found(spec.name, "capacity", "problem", text, detail=f"of {shown(there)}", remedy=remedy))
    return rows


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if value > 0 and math.isfinite(value) else math.nan


def not_sampled(host: str, error: HostError | None, seconds: float) -> Finding:
    """The sampler did not start, failed, or said nothing in time."""
    if error is None:
        text = f"no sample within {seconds:g} s"
        return found(host, "sampler", "problem", text, remedy="look at the host's load; try: ssh HOST python3 -V")
    remedy = error.hint or "install python3, perl or awk there"
    return found(host, "sampler", "problem", "does not run", detail=str(error.args[0]), remedy=remedy)


def memory(host: str, seen: Ability) -> Finding:
    """Whether the host can move processes with their memory."""
    if not seen.code:
        sockets = "" if seen.sockets else ", without network sockets"
        return found(
            host, "criu", "ok", f"driver criu works{sockets}", detail=f"criu {seen.criu}, kernel {seen.kernel}"
        )
    text = f"{seen.code}: driver criu cannot be used"
    detail = f"{seen.text}; command: {seen.command}"
    return found(host, "criu", "warning", text, detail=detail, remedy=seen.remedy)


def out_of_time(host: str, seconds: float, doing: str) -> Finding:
    """The host used up its deadline."""
    remedy = "look at its load and the way there; --deadline SECONDS gives it more"
    return found(host, "deadline", "problem", f"not done within {seconds:g} s", detail=f"while {doing}", remedy=remedy)


def surprised(host: str, error: Exception) -> Finding:
    """Something that the doctor did not expect, and that must not cost the other hosts."""
    text = f"{type(error).__name__}, which is a mistake of sidestep"
    return found(host, "doctor", "problem", text, detail=str(error), remedy="report it")


def _short(error: HostError) -> str:
    """An error's message without the host and the step that stand before it."""
    return str(error.args[0]).removeprefix(f"{error.host}: {error.step}: ")
