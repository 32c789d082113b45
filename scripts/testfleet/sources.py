"""Which package sources an image is made from: those that the machine itself uses, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_ETC: Final = Path("/etc/apt")
_LINE: Final = re.compile(r"deb\s+(\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")


def machine_suite(os_release: Path = Path("/etc/os-release")) -> str:
    """The code name of the machine's distribution, such as bookworm; empty if it says none."""
    try:
        lines = os_release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    return said.get("VERSION_CODENAME", "").strip("\"'")


def machine_sources(suite: str, etc: Path = _ETC) -> dict[str, str]:
    """What of the machine's APT sources serves ``suite``, as file name to text; options and keys are kept."""
    lines: list[str] = []
    stanzas: list[str] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            continue
        if path.suffix == ".list":
            lines += one_line_sources(text, suite)
        elif path.suffix == ".sources":
            stanzas += deb822_sources(text, suite)
    found = {"machine.list": "\n".join(lines), "machine.sources": "\n\n".join(stanzas)}
    return {name: text + "\n" for name, text in found.items() if text}


def one_line_sources(text: str, suite: str) -> list[str]:
    """The ``deb`` lines of the distribution's own archive (it has a component main) for ``suite``."""
    kept: list[str] = []
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        match = _LINE.fullmatch(line)
        if match and _serves(match["suite"], suite) and "main" in match["components"].split():
            kept.append(line)
    return kept


def deb822_sources(text: str, suite: str) -> list[str]:
    """The stanzas of the distribution's own archive for ``suite``, without comments."""
    kept: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        fields = _fields(lines)
        suites = fields.get("suites", "").split()
        if (
            fields.get("enabled", "yes").strip().lower() != "no"
            and "deb" in fields.get("types", "").split()
            and "main" in fields.get("components", "").split()
            and suites
            and all(_serves(one, suite) for one in suites)
        ):
            kept.append("\n".join(lines))
    return kept


def _serves(named: str, suite: str) -> bool:
    return named in {suite, f"{suite}-updates", f"{suite}-security"}


def _fields(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    key = ""
    for line in lines:
        if line[0] in " \t":
            found[key] = f"{found.get(key, '')} {line.strip()}"
        else:
            key, _, value = line.partition(":")
            key = key.lower()
            found[key] = value.strip()
    return found
