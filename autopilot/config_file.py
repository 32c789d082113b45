"""Reads the fleet file and all that it includes; ``fleet.config`` checks what they say.

Included files follow the file that names them, in the order of its list, a pattern's files
by name. Names are relative to the folder of the file that includes them.
"""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidestep.fleet.config import parse_documents
from sidestep.fleet.config_document import Document, read_document
from sidestep.fleet.config_problems import raise_all
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.extensions import names
from sidestep.fleet.inventory import FleetSpec

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
    #: the bytes of each file
    data: tuple[bytes, ...] = field(repr=False, default=())
    #: the folder and pattern of each include
    patterns: tuple[tuple[str, str], ...] = ()


@dataclass
class _Reading:
    """What was read so far, and what was wrong with it."""

    documents: list[Document] = field(default_factory=list)
    paths: dict[Path, str] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    left: int = MAX_BYTES
    data: list[bytes] = field(default_factory=list)
    patterns: list[tuple[str, str]] = field(default_factory=list)


def load_fleet(path: Path) -> FleetSpec:
    """The fleet that a file and its includes declare. Raises ConfigError naming file, line, key and remedy."""
    return load_files(read_files(path))


def load_files(files: FleetFiles) -> FleetSpec:
    """The fleet that files declare which were read before. Raises as ``load_fleet``."""
    return parse_documents(files.documents, plugged=names)


def read_files(path: Path) -> FleetFiles:
    """The fleet file and every file that it includes. Raises ConfigError, or ConfigErrors for several."""
    reading = _Reading()
    try:
        _read(path, str(path), (), reading)
    except ConfigError as error:
        reading.problems.append(error)
    raise_all(reading.problems)
    return FleetFiles(
        tuple(reading.documents),
        tuple(reading.paths),
        reading.digest.hexdigest(),
        tuple(reading.data),
        tuple(reading.patterns),
    )


def _read(path: Path, source: str, above: tuple[Path, ...], reading: _Reading) -> None:
    data = _data(path, source, reading)
    real = path.resolve()
    reading.paths[real] = source
    reading.digest.update(f"{len(source)}:{source}:{len(data)}:".encode())
    reading.digest.update(data)
    reading.data.append(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(source, line, "", None, "is not UTF-8 text", hint="save the file as UTF-8") from None
    document = read_document(text, source)
    reading.documents.append(document)
    for pattern in document.includes:
        reading.patterns.append((str(path.parent), pattern))
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


def matched(folder: Path, pattern: str) -> tuple[str, ...]:
    """The files that an include of a file in that folder names, in order; none where there is nothing.

    The pattern may match nothing yet. A hidden file, such as an editor's, is only meant when it is named.
    """
    full = _full(folder, pattern)
    if not glob.has_magic(pattern):
        return (str(full),) if full.is_file() else ()
    escaped = full if Path(pattern).expanduser().is_absolute() else Path(glob.escape(str(folder)), pattern)
    found = glob.glob(str(escaped))  # noqa: PTH207 - Path.glob takes no absolute pattern, and finds hidden files
    return tuple(name for name in sorted(found) if Path(name).is_file())


def _full(folder: Path, pattern: str) -> Path:
    wanted = Path(pattern).expanduser()
    return wanted if wanted.is_absolute() else folder / wanted


def _matches(folder: Path, pattern: str, by: Document) -> list[Path]:
    """The files that an include names. Raises ConfigError for a file or folder that is not there."""
    full, found = _full(folder, pattern), matched(folder, pattern)
    if not glob.has_magic(pattern) and not found:
        raise _refused(by, pattern, f"there is no file {full}", "correct the name, or remove it from include")
    anchor = full.parent
    while glob.has_magic(str(anchor)):
        anchor = anchor.parent
    if not anchor.is_dir():
        raise _refused(by, pattern, f"there is no folder {anchor}", "make it, or remove the pattern from include")
    return [Path(name) for name in found]


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
