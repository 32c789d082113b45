"""Reads the fleet file and all that it includes; ``fleet.config`` checks what they say.

Included files follow the file that names them, in the order of its list, a pattern's files
by name. Names are relative to the folder of the file that includes them.
"""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from sidestep.fleet.config import parse_documents
from sidestep.fleet.config_document import Document, read_document
from sidestep.fleet.config_problems import raise_all
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.policies import GOAL_PLUGINS

#: all files of a fleet together; thousands of hosts are well below it; a device is not read into memory
MAX_BYTES: Final = 16 << 20
MAX_FILES: Final = 2_000
#: files that include files that include files
MAX_DEPTH: Final = 8


@dataclass(frozen=True)
class FleetFiles:
    """The files of a fleet as they were read; ``digest`` changes when one changes, comes or goes."""

    documents: tuple[Document, ...] = field(repr=False)
    paths: tuple[Path, ...]
    digest: str


@dataclass
class _Reading:
    """What was read so far, and what was wrong with it."""

    documents: list[Document] = field(default_factory=list)
    paths: dict[Path, str] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    left: int = MAX_BYTES


def load_fleet(path: Path) -> FleetSpec:
    """The fleet that a file and its includes declare. Raises ConfigError naming file, line, key and remedy."""
    return parse_documents(read_files(path).documents, goals=plugged_goals)


def plugged_goals() -> frozenset[str]:
    """The names of the goals that plugins have; nothing is imported."""
    return frozenset(entry.name for entry in entry_points(group=GOAL_PLUGINS))


def read_files(path: Path) -> FleetFiles:
    """The fleet file and every file that it includes. Raises ConfigError, or ConfigErrors for several."""
    reading = _Reading()
    try:
        _read(path, str(path), (), reading)
    except ConfigError as error:
        reading.problems.append(error)
    raise_all(reading.problems)
    return FleetFiles(tuple(reading.documents), tuple(reading.paths), reading.digest.hexdigest())


def _read(path: Path, source: str, above: tuple[Path, ...], reading: _Reading) -> None:
    data = _data(path, source, reading)
    real = path.resolve()
    reading.paths[real] = source
    reading.digest.update(f"{len(source)}:{source}:{len(data)}:".encode())
    reading.digest.update(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(source, line, "", None, "is not UTF-8 text", hint="save the file as UTF-8") from None
    document = read_document(text, source)
    reading.documents.append(document)
    for pattern in document.includes:
        try:
            found = _matches(path.parent, pattern, document)
        except ConfigError as error:
            reading.problems.append(error)
            continue
        for file in found:
            try:
                _include(file, pattern, document, (*above, real), reading)
            except ConfigError as error:
                reading.problems.append(error)


def _include(path: Path, pattern: str, by: Document, above: tuple[Path, ...], reading: _Reading) -> None:
    real = path.resolve()
    if real in above:
        chain = " → ".join(reading.paths[step] for step in (*above[above.index(real) :], real))
        raise _refused(by, pattern, f"goes round in a circle: {chain}", "remove one of these includes")
    if real in reading.paths:
        raise _refused(by, pattern, f"includes {path} a second time", "include every file once")
    if len(above) > MAX_DEPTH:
        raise _refused(by, pattern, f"is more than {MAX_DEPTH} files deep", "include the file from further up")
    if len(reading.paths) >= MAX_FILES:
        raise _refused(by, pattern, f"makes more than {MAX_FILES} files", "put several hosts into one file")
    _read(path, str(path), above, reading)


def _matches(folder: Path, pattern: str, by: Document) -> list[Path]:
    """The files that an include names. Raises ConfigError for a file or folder that is not there."""
    wanted = Path(pattern).expanduser()
    full = wanted if wanted.is_absolute() else folder / wanted
    if not glob.has_magic(pattern):
        if not full.is_file():
            raise _refused(by, pattern, f"there is no file {full}", "correct the name, or remove it from include")
        return [full]
    anchor = full.parent
    while glob.has_magic(str(anchor)):
        anchor = anchor.parent
    if not anchor.is_dir():
        raise _refused(by, pattern, f"there is no folder {anchor}", "make it, or remove the pattern from include")
    # The pattern may match nothing yet. A hidden file, such as an editor's, is only meant when it is named.
    escaped = full if wanted.is_absolute() else Path(glob.escape(str(folder)), wanted)
    found = glob.glob(str(escaped))  # noqa: PTH207 - Path.glob takes no absolute pattern, and finds hidden files
    return [path for path in map(Path, sorted(found)) if path.is_file()]


def _refused(by: Document, pattern: str, message: str, hint: str) -> ConfigError:
    return ConfigError(by.source, by.line(("include",)), "include", pattern, message, hint=hint)


def _data(path: Path, source: str, reading: _Reading) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(reading.left + 1)
    except FileNotFoundError:
        raise ConfigError(source, 0, "", None, "there is no such file", hint="name it with --fleet FILE") from None
    except OSError as error:
        raise ConfigError(
            source, 0, "", None, f"cannot be read: {error.strerror}", hint="check its permissions"
        ) from None
    if len(data) > reading.left:
        said = f"is larger than {MAX_BYTES} bytes" + (" together with the files before it" if reading.paths else "")
        raise ConfigError(source, 0, "", None, said, hint="name a fleet file with --fleet")
    reading.left -= len(data)
    return data
