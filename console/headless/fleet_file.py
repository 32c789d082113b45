"""``sidestep fleet``: the fleet file checked, shown, and described."""

from __future__ import annotations

import sys
from pathlib import Path

from sidestep.autopilot.config_file import load_fleet, read_files
from sidestep.console.headless import output
from sidestep.fleet.config import dump_fleet, parse_documents
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.extensions import names


def check(path: Path, *, as_json: bool) -> int:
    """Print what is wrong with a fleet file; the exit code is 2 then."""
    problems: tuple[ConfigError, ...] = ()
    try:
        files = read_files(path)
        spec = parse_documents(files.documents, plugged=names)
    except ConfigError as error:
        problems = getattr(error, "problems", (error,))
    if as_json:
        rows = [
            {"file": p.file, "line": p.line, "key": p.key, "message": str(p.args[0]), "remedy": p.hint}
            for p in problems
        ]
        output.dump({"file": str(path), "good": not problems, "problems": rows})
    elif problems:
        for problem in problems:
            print(problem, file=sys.stderr)
        count = len(problems)
        print(f"{count} problem{'' if count == 1 else 's'}; nothing can be started with this file", file=sys.stderr)
    else:
        said = f"{len(spec.hosts)} hosts, {len(spec.shards)} shards"
        output.say(f"{path} is good: fleet {spec.name}, {said}, {len(files.paths)} file(s)")
    return 2 if problems else 0


def show(path: Path, *, as_json: bool) -> None:
    """Print a fleet worked out. Raises ConfigError."""
    spec = load_fleet(path)
    if as_json:
        output.dump(spec)
    else:
        # Every text in it was checked to be printable, or is written with escapes.
        print(dump_fleet(spec), end="")


def schema() -> None:
    """Print the published schema."""
    from sidestep import fleet  # noqa: PLC0415

    print((Path(fleet.__file__).with_name("fleet.schema.json")).read_text(encoding="utf-8"), end="")
