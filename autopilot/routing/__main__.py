"""``python -m sidestep.autopilot.routing``: what ``sidestep router`` runs."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.routing.look import looked_at
from sidestep.backends.haproxy.config import CONFIG, written
from sidestep.backends.haproxy.place import replace_file
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.routing import RouterSpec
from sidestep.plugins.routers import router_spec


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep router")
    parser.add_argument("--fleet", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("config").add_argument("--out", type=Path)
    commands.add_parser("check")
    return parser.parse_args(argv)


def config(fleet: FleetSpec, out: Path | None) -> int:
    """Print the configuration, or write it with all that it loads; maps and state that are there stay."""
    spec = router_spec(fleet)
    if spec is None or spec.engine != "haproxy":
        raise UsageError(
            f"{fleet.source}: the router of fleet {fleet.name} needs no configuration",
            hint='write engine = "haproxy", socket and folder under [router]',
        )
    files = written(fleet, spec)
    refused = _refused(spec, files)
    if out is None:
        print(files[CONFIG].decode(), end="")
    else:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if name.endswith((".cfg", ".lua")) or not (out / name).exists():
                replace_file(out / name, data)
                print(out / name)
    if refused is None:
        print("haproxy is not installed here: check it on the router's host with haproxy -c -f", file=sys.stderr)
    elif refused:
        raise SidestepError(f"haproxy -c refuses the configuration: {refused}", hint="correct [router] in the file")
    return 0


def _refused(spec: RouterSpec, files: dict[str, bytes]) -> str | None:
    """What haproxy -c says against these files, laid out in a folder of their own; None where it is not installed."""
    haproxy = shutil.which("haproxy", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if haproxy is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            there = spec.folder.rstrip("/").encode()
            (Path(folder) / name).write_bytes(data.replace(there + b"/", f"{folder}/".encode()))
        done = subprocess.run([haproxy, "-c", "-f", f"{folder}/{CONFIG}"], capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr.strip()[-600:]


async def check(fleet: FleetSpec) -> int:
    """0 if the router has what it was told, 1 with a line for each difference."""
    differs = await looked_at(fleet)
    for line in differs:
        print(line)
    if not differs:
        print("the router has what it was told")
    return 1 if differs else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = arguments(argv)
    try:
        fleet = load_fleet(options.fleet or paths.config_path())
        return config(fleet, options.out) if options.command == "config" else asyncio.run(check(fleet))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
