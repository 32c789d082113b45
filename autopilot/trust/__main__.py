"""``python -m sidestep.autopilot.trust``: what ``sidestep trust`` runs.

A key is written only after a person or a list from a trusted channel has said that it is the
host's. There is no option that says yes to whatever is shown, and none that replaces a key.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.trust.expected import Expected, fingerprint
from sidestep.autopilot.trust.look import Look, Looker
from sidestep.autopilot.trust.note import note
from sidestep.autopilot.trust.sshfp import Said, look_up
from sidestep.backends.ssh.hostkeys import host_name, known_as
from sidestep.backends.ssh.hostkeys_write import record
from sidestep.backends.ssh.resolve import hop_of
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import scrub


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="sidestep trust", description="Records host keys, after you have compared their fingerprints."
    )
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="a host of the fleet, or [user@]address[:port]")
    parser.add_argument("--fleet", type=Path, metavar="FILE", help="the fleet file")
    parser.add_argument("--socket", type=Path, help="the daemon's socket, if it is not the usual one")
    parser.add_argument("--state", type=Path, metavar="DIR", help="the daemon's state folder, likewise")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--from", dest="source", type=Path, metavar="FILE",
                     help="HOST SHA256:... or known_hosts lines from a trusted channel, and nothing else")  # fmt: skip
    how.add_argument("--fingerprint", metavar="SHA256:...", help="what the one host must show")
    return parser.parse_args(argv)


async def trust(options: argparse.Namespace) -> int:
    """Look, ask or compare, and record; the exit code. Raises SidestepError for bad input."""
    fleet = _fleet(options.fleet)
    hosts = _chosen(fleet, options.hosts, everything=options.source is not None)
    expected = _expected(options, hosts)
    if expected is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "there is no terminal to ask on",
            hint="give --fingerprint SHA256:... or --from FILE",
        )
    looker = await asyncio.to_thread(Looker, fleet)
    try:
        looks = await looker.look_all(hosts, expected, lambda look: None)
    finally:
        await looker.aclose()
    # One after the other: people answer them in this order.
    accepted: list[tuple[str, str]] = []
    refused = sum([not _settle(look, await _dns(look), accepted) for look in looks])
    if refused < len(looks) and not (accepted and note(fleet, accepted, options.socket, options.state)):
        print("A running daemon goes on with: sidestep retry")
    if len(looks) > 1:
        print(f"{len(looks) - refused} trusted, {refused} refused")
    return 1 if refused else 0


def _fleet(path: Path | None) -> FleetSpec:
    file = path or paths.config_path()
    if path is None and not file.exists():
        return FleetSpec(name=scrub("none"), source=str(file), hosts=(), shards=())
    return load_fleet(file)


def _chosen(fleet: FleetSpec, names: Sequence[str], *, everything: bool) -> tuple[HostSpec, ...]:
    """The hosts that are meant: those of the fleet by name or address, and bare addresses."""
    if not names:
        if everything and fleet.hosts:
            return fleet.hosts
        raise UsageError("no host is named", hint="sidestep trust HOST")
    return tuple(_one(fleet, name) for name in dict.fromkeys(names))


def _one(fleet: FleetSpec, name: str) -> HostSpec:
    for host in fleet.hosts:
        if name in (host.name, host.address):
            return host
    try:
        asked = hop_of(name)
    except ValueError as error:
        raise UsageError(f"{scrub(name)} is no host of fleet {fleet.name}, and no address: {error}") from error
    return HostSpec(name=scrub(name), address=asked.address, port=asked.port or 22, user=asked.user)


def _expected(options: argparse.Namespace, hosts: tuple[HostSpec, ...]) -> Expected | None:
    if options.source is not None:
        return Expected.load(options.source)
    if options.fingerprint is None:
        return None
    if len(hosts) != 1:
        raise UsageError("--fingerprint is about one host", hint="use --from FILE for several")
    try:
        return Expected.only(hosts[0].name, fingerprint(options.fingerprint))
    except ValueError as error:
        raise UsageError(f"--fingerprint {scrub(options.fingerprint)} {error}") from error


async def _dns(look: Look) -> Said | None:
    """What the domain name system says of a key that a person is to be asked about."""
    if look.verdict != "unknown" or look.target is None or look.key is None:
        return None
    return await look_up(known_as(look.target)[0], look.key)


def _settle(look: Look, dns: Said | None, accepted: list[tuple[str, str]]) -> bool:
    """Say what came of one host, ask if it is to be asked, and record; whether it is trusted.

    A key that was written is appended to ``accepted``: the host's name, and what is trusted by what.
    """
    if look.error is not None or look.target is None or look.key is None or look.file is None:
        print(look.error, file=sys.stderr)
        return False
    target, key = look.target, look.key
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
    name, port = known_as(target)
    if look.verdict == "known":
        print(f"{look.host.name}: trusted already: {shown}")
        return True
    if look.verdict == "unknown":
        way = f" through {', '.join(hop.name for hop in target.jumps)}" if target.jumps else ""
        print(f"{look.host.name}: {scrub(target.address)} port {target.port}{way} shows")
        print(f"  {shown}")
        for line in dns.lines() if dns is not None else ():
            print(f"  {line}")
        print("  On the host's own console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub (ecdsa, rsa)")
        if not _yes("Is it the same? [y/N] "):
            print(f"{look.host.name}: not trusted", file=sys.stderr)
            return False
    try:
        record(look.file, name, port, key)
    except SidestepError as error:
        print(f"{look.host.name}: {error}", file=sys.stderr)
        return False
    print(f"{look.host.name}: {host_name(name, port)} is trusted by {shown}, in {look.file}")
    accepted.append((str(look.host.name), f"{host_name(name, port)} {shown}"))
    return True


def _yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every host is trusted, 1 when one is refused, 2 for bad input."""
    try:
        return asyncio.run(trust(arguments(argv)))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
