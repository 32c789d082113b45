"""A secret of the command line: where it is to be had is written there, never what it is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from sidestep.fleet.errors import UsageError

#: seconds that a command may take to say it
_SECONDS: Final = 60.0


def secret(reference: str, option: str) -> str:
    """The one line that ``file:PATH`` or ``command:LINE`` refers to; "" for no reference.

    ``option`` is what the reference was given by. Raises UsageError, which says neither the secret nor the command.
    """
    kind, _, rest = reference.partition(":")
    if not reference:
        return ""
    try:
        if kind == "file":
            found = Path(rest).expanduser().read_text(encoding="utf-8")
        elif kind == "command":
            done = subprocess.run(["sh", "-c", rest], capture_output=True, text=True, check=True, timeout=_SECONDS)
            found = done.stdout
        else:
            raise UsageError(f"{option} is a reference, never the secret", hint="write file:PATH or command:LINE")
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as error:
        raise UsageError(f"{option} {kind}: {type(error).__name__}: no secret came of it") from None
    lines = found.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise UsageError(f"{option} {kind}: it must give one line", hint="put the secret alone in the file")
    return lines[0]
