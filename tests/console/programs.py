"""``sidestep`` as a program, without paying for its imports again at each run.

One process has everything imported and makes a copy of itself for each run: arguments, environment, folder,
standard input, output, error and exit code are a process's own. What the imports themselves cost or bring is
the matter of ``test_light_imports``, and ``fresh`` runs a program from nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

_LIMIT = 60.0
_found: list[Path] = []


class Ran(NamedTuple):
    code: int
    out: str
    err: str


async def fresh(*arguments: str, stdin: str = "", **environment: str) -> Ran:
    """Run ``sidestep`` as a program of its own, from nothing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidestep", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), _LIMIT)
    return Ran(process.returncode or 0, out.decode(), err.decode())


async def run(*arguments: str, stdin: str = "", **environment: str) -> Ran:
    """Run ``sidestep`` as a copy of the process that has everything imported."""
    reader, writer = await asyncio.open_unix_connection(_found[0] if _found else _begin(), limit=2**26)
    told = {"argv": arguments, "stdin": stdin, "env": {**os.environ, **environment}, "cwd": str(Path.cwd())}
    writer.write(json.dumps(told).encode() + b"\n")
    answer = json.loads(await asyncio.wait_for(reader.readline(), _LIMIT))
    writer.close()
    return Ran(answer["code"], answer["out"], answer["err"])


def _begin() -> Path:
    """Start the process that is copied; it ends with this one, whose pipe it holds."""
    folder = tempfile.TemporaryDirectory()
    process = subprocess.Popen(
        [sys.executable, __file__, folder.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    _found.append(Path(folder.name) / "s")
    return _found[0]


def _serve(folder: Path) -> None:
    """Copy this process for every question, until standard input ends."""
    import select

    from sidestep.console import cli, commandline  # noqa: F401 - what is paid for once

    copies = 0
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        listening.listen(32)
        os.write(1, b"ready\n")
        while True:
            ready, _, _ = select.select([listening, 0], [], [])
            ending = 0 in ready
            while copies and os.waitpid(-1, 0 if ending else os.WNOHANG)[0]:
                copies -= 1
            if ending:
                return
            with listening.accept()[0] as line:
                copies += 1
                if os.fork() == 0:
                    listening.close()
                    _answer(line)
                    os._exit(0)


def _answer(line: socket.socket) -> None:
    """Run one program in a copy, and tell what it wrote and how it ended."""
    with line.makefile("rwb") as stream, tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        told: dict[str, Any] = json.loads(stream.readline())
        given.write(told["stdin"].encode())
        given.seek(0)
        with tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                line.detach()
                for number, file in enumerate((given, out, err)):
                    os.dup2(file.fileno(), number)
                _become(told)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        stream.write(json.dumps({"code": code, "out": texts[0], "err": texts[1]}).encode() + b"\n")


def _become(told: dict[str, Any]) -> None:
    """Be the program; never returns."""
    from sidestep.console.cli import main

    os.environ.clear()
    os.environ.update(told["env"])
    time.tzset()
    os.chdir(told["cwd"])
    sys.argv = ["sidestep", *told["argv"]]
    code = 0
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
