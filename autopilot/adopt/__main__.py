"""``python -m sidestep.autopilot.adopt``: what ``sidestep adopt`` runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from sidestep.autopilot import paths
from sidestep.autopilot.adopt.fragment import checked, fragment, name_of, put
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.doctor.examine import surgery
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.resolve import resolve
from sidestep.backends.systemd.adopt import Adopted, Unit, adopt, refusal, survey
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.resources import show_size


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep adopt", description="Takes over units that run on a host.")
    parser.add_argument("units", nargs="*", metavar="UNIT", help="services, such as kv.service")
    parser.add_argument("--host", required=True, help="the host of the fleet on which they run")
    parser.add_argument("--list", action="store_true", help="say what runs there, and change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--print", action="store_true", help="print the lines instead of writing the fleet file")
    parser.add_argument("--fleet", type=Path, help="the fleet file; by default the one in the configuration folder")
    parser.add_argument("--name", default="", help="the shard's name, for one unit; by default the unit's")
    parser.add_argument("--driver", choices=("restart", "hook"), default="restart", help="how it is moved")
    parser.add_argument("--state", default="", metavar="PATH", help="the folder of its state, for driver restart")
    parser.add_argument("--port", type=int, default=0, help="the port that it listens on")
    parser.add_argument("--ready", default="", metavar="COMMAND", help="exits 0 once it answers")
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    """List or take over, and say it. Raises SidestepError."""
    path = options.fleet or paths.config_path()
    fleet = load_fleet(path)
    try:
        host = fleet.host(options.host)
    except KeyError:
        raise UsageError(f"{options.host} is no host of fleet {fleet.name}", hint="see: sidestep fleet show") from None
    if options.list:
        async with connected(fleet, host) as transport:
            _tell(await survey(transport), as_json=options.json)
        return
    names = _names(options)
    checked(path, fleet, list(names.values()))
    async with connected(fleet, host) as transport:
        done = [
            await adopt(
                transport, fleet=fleet.name, shard=name, unit=unit, address=host.address, port=options.port,
                state_path=options.state,
            )
            for unit, name in names.items()
        ]  # fmt: skip
    text = "\n".join(
        fragment(
            names[str(one.unit)], host=host.name, start=one.start, driver=options.driver, port=options.port,
            state_path=options.state, ready=options.ready, unit=str(one.unit), left=tuple(map(str, one.left)),
        )
        for one in done
    )  # fmt: skip
    if not options.print:
        put(path, text)
    _done(done, names, text, path, options)


@asynccontextmanager
async def connected(fleet: FleetSpec, host: HostSpec) -> AsyncIterator[Transport]:
    """A transport to that host, closed at the end. Raises HostError."""
    async with surgery(fleet, 30.0) as shared:
        target = resolve(host, fleet, shared.config)
        transport = AsyncsshTransport(target, shared.keys, ring=shared.ring, tunnels=shared.tunnels)
        try:
            await transport.connect()
            yield transport
        finally:
            await transport.aclose()


def _names(options: argparse.Namespace) -> dict[str, str]:
    """The shard of every unit. Raises UsageError."""
    if not options.units:
        raise UsageError("no unit was named", hint=f"see: sidestep adopt --list --host {options.host}")
    units = [unit if unit.endswith(".service") else f"{unit}.service" for unit in options.units]
    for unit in units:
        if why := refusal(unit):
            raise UsageError(why)
    single = {"--name": options.name, "--state": options.state, "--port": options.port, "--ready": options.ready}
    if len(units) > 1 and (given := [key for key, value in single.items() if value]):
        raise UsageError(f"{given[0]} is about one unit, and {len(units)} were named")
    names = {unit: options.name or name_of(unit) for unit in units}
    if len(set(names.values())) < len(names):
        raise UsageError("two of the units would be shards of one name", hint="take them one by one, with --name")
    return names


def _tell(units: Sequence[Unit], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(units), ensure_ascii=True, indent=2))
        return
    rows = [("UNIT", "CPU", "MEMORY", "STARTS", "ADOPT", "WHAT")]
    for one in sorted(units, key=lambda unit: -(unit.cpu_seconds or 0.0)):
        cpu = "-" if one.cpu_seconds is None else f"{one.cpu_seconds:.1f}s"
        memory = "-" if one.memory is None else show_size(one.memory)
        rows.append((one.name, cpu, memory, one.enabled or "-", "yes" if one.adoptable else "no", one.about))
    wide = [max(len(row[at]) for row in rows) for at in range(5)]
    for row in rows:
        print("  ".join([*(part.ljust(wide[at]) for at, part in enumerate(row[:5])), row[5]]).rstrip())


def _done(done: Sequence[Adopted], names: dict[str, str], text: str, path: Path, options: argparse.Namespace) -> None:
    if options.json:
        shards = [{**msgspec.to_builtins(one), "shard": names[str(one.unit)]} for one in done]
        print(json.dumps({"adopted": shards, "fragment": text}, ensure_ascii=True, indent=2))
        return
    if options.print:
        print(text)
        return
    for one in done:
        print(f"{one.unit} on {one.host} is shard {names[str(one.unit)]} now (pid {one.pid}, not restarted)")
    print(f"written to {path}; a running daemon takes it up when it is restarted")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 for what a host refused, 2 for bad input."""
    options = arguments(argv)
    try:
        asyncio.run(run(options))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
