"""Units that run on a host already: which there are, and taking one over without restarting it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from shlex import join
from typing import Final

from msgspec import Struct

from sidestep.backends.process.scripts import perform
from sidestep.backends.process.words import check_names
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label, scrub

_UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.service")
#: what a host is reached and kept alive by is no shard
_THE_HOSTS: Final = re.compile(
    r"(systemd-.*|ssh|sshd|ssh@.*|sshd@.*|dbus.*|getty@.*|serial-getty@.*|user@.*|sidestep.*)\.service"
)
#: settings that a unit of ours does not have: a move would leave them behind
_LEFT: Final = {"EnvironmentFiles": "", "RootDirectory": "", "DynamicUser": "no", "PrivateTmp": "no"}


class Unit(Struct, frozen=True, kw_only=True):
    """A unit that runs: seconds of processor time since it began, and bytes; None where nobody counts them."""

    name: Label
    manager: str
    cgroup: Label
    pid: int
    cpu_seconds: float | None
    memory: int | None
    #: "enabled", "static", ...; and its file
    enabled: str
    file: Label
    about: Label
    #: whether sidestep would take it over
    adoptable: bool


class Adopted(Struct, frozen=True, kw_only=True):
    """A unit that is a shard now, and what a move would need to know of it."""

    unit: Label
    host: Label
    token: int
    pid: int
    #: the command that starts it as it runs, with its user and folder
    start: str
    state_path: str
    #: what a unit of ours would not have
    left: tuple[Label, ...]


def refusal(unit: str) -> str:
    """Why a unit of that name cannot be a shard, or nothing."""
    if not _UNIT.fullmatch(unit):
        return f"{unit!r} is no name of a service"
    return f"{unit} is part of the host itself" if _THE_HOSTS.fullmatch(unit) else ""


async def survey(transport: Transport, *, timeout: float = 60.0) -> tuple[Unit, ...]:
    """Every service and slice that runs there. Raises HostError."""
    values: dict[str, str | int] = {"fleet": "survey", "shard": ""}
    said = await perform(transport, "survey", "systemd/survey", values, timeout=timeout)
    return tuple(_unit(transport, value) for key, value in said if key == "unit")


async def adopt(
    transport: Transport, *, fleet: str, shard: str, unit: str, address: str, port: int = 0, state_path: str = "",
    timeout: float = 60.0,
) -> Adopted:  # fmt: skip
    """Take it over: it runs on, and starts only as the shard from now on. Done twice it is as done once.

    Raises HostError for a unit that does not run, is another shard's, or cannot be a shard.
    """
    check_names(transport, "adopt", fleet, shard)
    if why := refusal(unit):
        raise HostError(transport.host, "adopt", why)
    values: dict[str, str | int] = {
        "fleet": fleet, "shard": shard, "unit": unit, "token": 1, "port": port, "address": address,
        "state_path": state_path, "units": 1, "cmd_resume": "",
    }  # fmt: skip
    said = dict(await perform(transport, "adopt", "systemd/adopt", values, timeout=timeout))
    try:
        argv = [part.decode("utf-8", "surrogateescape") for part in base64.b64decode(said["line"]).split(b"\0")[:-1]]
        return Adopted(
            unit=scrub(unit), host=scrub(transport.host), token=int(said["token"]), pid=int(said["pid"]),
            start=_start(argv, said), state_path=state_path,
            left=_left(said),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise HostError(transport.host, "adopt", "unexpected answer", tail=str(said)) from error


def _left(said: Mapping[str, str]) -> tuple[Label, ...]:
    """Settings with an effect that a move would leave behind; of variables only the names: values may be secret."""
    found = [scrub(f"{key}={said[key]}", 200) for key, none in _LEFT.items() if said.get(key, none) != none]
    names = re.findall(r"(?:^| )\"?([A-Za-z_][A-Za-z0-9_]*)=", said.get("Environment", ""))
    return (*found, *([scrub(f"Environment: {' '.join(names)}", 200)] if names else []))


def _start(argv: list[str], said: Mapping[str, str]) -> str:
    """The command line that starts it elsewhere as it runs here."""
    words = ["exec"]
    user, group = said.get("User", ""), said.get("Group", "")
    if user and user != "root":
        words += ["setpriv", f"--reuid={user}", f"--regid={group or user}", "--init-groups"]
    folder = said.get("WorkingDirectory", "").lstrip("!-")
    before = f"cd {join([folder])} && " if folder.startswith("/") and folder != "/" else ""
    return f"{before}{join([*words, *argv])}"


def _unit(transport: Transport, line: str) -> Unit:
    try:
        name, manager, cgroup, pid, cpu, memory, enabled, file, about = line.split("|", 8)
        service = name.endswith(".service")
        return Unit(
            name=scrub(name), manager=str(scrub(manager)), cgroup=scrub(cgroup), pid=int(pid),
            cpu_seconds=None if cpu == "-" else int(cpu) / 1e6, memory=None if memory == "-" else int(memory),
            enabled="" if enabled == "-" else str(scrub(enabled)), file=scrub("" if file == "-" else file),
            about=scrub(about), adoptable=service and int(pid) > 1 and not refusal(name),
        )  # fmt: skip
    except ValueError as error:
        raise HostError(transport.host, "survey", "unexpected answer", tail=line) from error
