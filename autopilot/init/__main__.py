"""``python -m sidestep.autopilot.init``: what ``sidestep init`` runs. Asks nothing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidestep.autopilot import paths
from sidestep.autopilot.init import ansible, hostlist, sshhosts
from sidestep.autopilot.init.draft import Draft, told, write
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.fleet.config import parse_fleet
from sidestep.fleet.config_read import NAME, NAME_HINT
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub

MAX_BYTES: Final = 16 << 20
#: seconds that ansible-inventory may take; its plugins may ask a cloud
ANSIBLE: Final = 120.0


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep init", description="Writes a fleet file. Asks nothing.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ssh-config", nargs="?", const="", metavar="FILE", help="concrete hosts of an ssh_config")
    source.add_argument("--ansible", metavar="FILE", help="an Ansible inventory: INI, YAML or JSON")
    source.add_argument("--hosts", metavar="FILE", help="a list, NAME [ADDRESS[:PORT]] per line; - is standard input")
    parser.add_argument("--fleet", type=Path, help="where to write; by default in the configuration folder")
    parser.add_argument("--name", default="fleet", help="name of the fleet")
    parser.add_argument("--user", default="", help="user to log in as where none is said")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--print", action="store_true", dest="show", help="print it instead of writing it")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> None:
    """Read, say what is left out, and write. Raises SidestepError; nothing is written then."""
    if not NAME.fullmatch(options.name):
        raise UsageError(f"{options.name} cannot name a fleet", hint=NAME_HINT)
    path = options.fleet or paths.config_path()
    if not options.show and not options.force and path.exists():
        raise UsageError(f"{path} is there already", hint="--force replaces it; --fleet FILE writes another")
    source, draft = _draft(options)
    if options.user:
        draft.ssh.setdefault("user", options.user)
    for line in told(draft, source):
        print(line, file=sys.stderr)
    if not draft.hosts:
        raise UsageError(f"{source} has no host that can be taken over; nothing is written", hint="name another source")
    text = write(draft, options.name, source)
    parse_fleet(text, str(path))
    if options.show:
        print(text, end="")
        return
    _write(path, text, force=options.force)
    named = "" if path == paths.config_path() else f" --fleet {path}"
    print(f"wrote {path}; try it: sidestep doctor{named}", file=sys.stderr)


def _draft(options: argparse.Namespace) -> tuple[str, Draft]:
    """What is read, for people, and what was found there."""
    if options.ssh_config is not None:
        path = str(Path(options.ssh_config).expanduser().absolute()) if options.ssh_config else ""
        config = SshConfig.load(path)
        return config.source, sshhosts.read(config, path)
    if options.ansible:
        return options.ansible, ansible.draft_of(_inventory(Path(options.ansible)))
    if options.hosts == "-":
        return "standard input", hostlist.read(_text(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"))
    return options.hosts, hostlist.read(_content(Path(options.hosts)))


def _inventory(path: Path) -> ansible.Inventory:
    text = _content(path)
    if path.suffix in {".yml", ".yaml"}:
        return ansible.read_list(_asked(path), str(path))
    if text.lstrip().startswith("{"):
        try:
            return ansible.read_list(json.loads(text), str(path))
        except (json.JSONDecodeError, RecursionError) as error:
            raise UsageError(f"{path} is no JSON: {error}", hint="ansible-inventory -i FILE --list prints it") from None
    if text.startswith("#!"):
        raise UsageError(f"{path} is a program", hint="run: ansible-inventory -i FILE --list > inventory.json")
    return ansible.read_ini(text, str(path))


def _asked(path: Path) -> object:
    """What Ansible itself makes of an inventory. Raises UsageError."""
    tool = shutil.which("ansible-inventory")
    if tool is None:
        raise UsageError(
            f"{path} is YAML, which ansible-inventory must read, and it is not installed",
            hint=f"where it is: ansible-inventory -i {path} --list > inventory.json, then: --ansible inventory.json",
        )
    try:
        ran = subprocess.run(
            [tool, "-i", str(path.absolute()), "--list"], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=ANSIBLE, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"ansible-inventory does not answer: {error}", hint="run it by hand") from None
    if ran.returncode != 0:
        raise UsageError(f"ansible-inventory refuses {path}: {scrub(ran.stderr[-400:])}", hint="run it by hand")
    # A file that no plugin can read is an inventory without hosts to it, and a warning.
    try:
        return json.loads(ran.stdout)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"ansible-inventory prints no JSON: {error}", hint="run it by hand") from None


def _content(path: Path) -> str:
    try:
        with path.expanduser().open("rb") as file:
            return _text(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="correct the name") from None


def _text(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(f"{source} is larger than {MAX_BYTES} bytes", hint="name a list of hosts")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{source} is not UTF-8 text", hint="save it as UTF-8") from None


def _write(path: Path, text: str, *, force: bool) -> None:
    """Put the whole file in its place, or nothing; without ``force`` only where there is none."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if force:
            Path(part).replace(path)
            part = None
        else:
            os.link(part, path)
    except FileExistsError:
        raise UsageError(f"{path} is there already", hint="--force replaces it; --fleet FILE writes another") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name another with --fleet") from None
    finally:
        if part is not None:
            with suppress(OSError):
                Path(part).unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when the file is written, 2 for bad input, 1 for everything else that is told."""
    options = arguments(argv)
    try:
        run(options)
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
