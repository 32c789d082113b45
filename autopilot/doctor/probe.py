"""One look at a host from within: a script for its shell, and what it says. Leaves nothing behind."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from sidestep.fleet.labels import Label, scrub

MARK: Final = "sidestep-doctor"
_END: Final = "sidestep-end"
#: most that a host may say, in bytes; a few hundred are usual, and what its login shell prints comes on top
MOST: Final = 1 << 20
#: what a host may have, and what it is needed for
TOOLS: Final = ("python3", "perl", "awk", "setsid", "sha256sum", "shasum", "openssl", "tar", "df")
#: the folder that shards keep their state in is made below the nearest one that exists
SCRIPT: Final = f"""\
say() {{ printf '%s=%s\\n' "$1" "$2"; }}
echo {MARK}
say time "$(date +%s)"
say shell "${{SHELL:-}}"
say user "$(id -un 2>/dev/null)"
say kernel "$(uname -r 2>/dev/null)"
for tool in {" ".join(TOOLS)}; do
    path=$(command -v "$tool" 2>/dev/null) && say "tool.$tool" "$path"
done
state=${{XDG_STATE_HOME:-${{HOME:+$HOME/.local/state}}}}
if [ -n "$state" ]; then
    state=$state/sidestep
    there=$state
    while [ ! -e "$there" ] && [ "$there" != / ]; do there=$(dirname "$there"); done
    say state "$state"
    say nearest "$there"
    [ -d "$there" ] && [ -w "$there" ] && [ -x "$there" ] && say writable yes
    say df "$(df -Pk "$there" 2>/dev/null | tail -n 1)"
fi
echo {_END}
"""


class Seen(Struct, frozen=True, kw_only=True):
    """What a host said about itself."""

    #: what its login shell printed before the first line of ours
    noise: bytes
    #: whole seconds of its clock; 0 if it said none
    time: float
    said: dict[str, Label]
    #: name -> path
    tools: dict[str, Label]
    #: free bytes for shards' state; None if it is not known
    free: int | None


def parse(stdout: bytes) -> Seen | None:
    """What the script printed; None when its first or last line is missing, or when it is far too much."""
    if len(stdout) > MOST:
        return None
    before, mark, after = stdout.partition(f"{MARK}\n".encode())
    body, end, _ = after.partition(f"{_END}\n".encode())
    if not mark or not end:
        return None
    said: dict[str, Label] = {}
    for line in body.splitlines():
        key, equals, value = line.partition(b"=")
        if equals:
            said.setdefault(scrub(key, 40), scrub(value))
    tools = {key.removeprefix("tool."): value for key, value in said.items() if key.startswith("tool.") and value}
    clock = said.get("time", "")
    return Seen(
        noise=before,
        time=float(clock) if clock.isdigit() and len(clock) < 16 else 0.0,
        said=said,
        tools=tools,
        free=_free(said.get("df", "")),
    )


def _free(line: str) -> int | None:
    """Free bytes from a line of ``df -Pk``; the name of a file system may hold blanks."""
    words = line.split()
    for at, word in enumerate(words):
        if word.endswith("%") and word[:-1].isdigit() and at >= 1 and words[at - 1].isdigit():
            return int(words[at - 1][:15]) * 1024
    return None
