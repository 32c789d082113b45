"""A function's source as files that travel by digest: its own module and the modules beside it that it imports.

Nothing is imported to find them: the imports are read from the source. What is installed on the
hosts is not carried.
"""

from __future__ import annotations

import ast
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from sidestep.fleet.errors import SidestepError, UsageError

#: the attribute by which ``sidestep.function`` marks what it decorated
PLAIN: Final = "__sidestep_plain__"
#: bytes and files that one bundle may have
MAX_BYTES: Final = 16 << 20
MAX_FILES: Final = 500


@dataclass(frozen=True)
class Source:
    """Files by path relative to the folder that is put on ``sys.path``; ``module`` holds the function."""

    digest: str
    module: str
    files: Mapping[str, bytes]


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over paths and contents, in hex; the same for the same files in any order."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(hashlib.sha256(path.encode()).digest() + hashlib.sha256(files[path]).digest())
    return whole.hexdigest()


def bundle(file: Path, *, root: Path | None = None) -> Source:
    """The source of a Python file and of the modules below ``root`` (its own folder) that it imports.

    Raises UsageError for files that cannot be read or are no Python.
    """
    file = file.resolve()
    root = (root or file.parent).resolve()
    module = ".".join(file.relative_to(root).with_suffix("").parts)
    files: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix()
        if name in files:
            continue
        try:
            files[name] = path.read_bytes()
            tree = ast.parse(files[name], str(path))
        except (OSError, SyntaxError, ValueError) as error:
            raise UsageError(f"{path} cannot be read as Python: {error}", hint="name a file that python runs") from None
        if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_BYTES:
            raise UsageError(
                f"{file} imports more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB from {root}",
                hint="install what it needs on the hosts instead",
            )
        package = path.relative_to(root).parent.parts
        for wanted in _imports(tree, package):
            waiting += _found(root, wanted)
    return Source(digest_of(files), module, files)


def _imports(tree: ast.AST, package: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every dotted name that is imported, absolute, with the names taken from it."""
    found: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - (node.level - 1)] if node.level else ()
            base = (*above, *(node.module.split(".") if node.module else ()))
            found += [base, *((*base, alias.name) for alias in node.names)]
    return found


def _found(root: Path, name: tuple[str, ...]) -> list[Path]:
    """The files below ``root`` that importing a name would run, if there are any."""
    hit = [root.joinpath(*name[:depth], "__init__.py") for depth in range(1, len(name) + 1)]
    if name:
        hit.append(root.joinpath(*name).with_suffix(".py"))
    return [path for path in hit if path.is_file()]


def store_source(folder: Path, digest: str, files: Mapping[str, bytes]) -> Path:
    """Write files below ``folder/digest`` as a whole or not at all. Raises SidestepError for others' digests."""
    if digest_of(files) != digest:
        raise SidestepError(f"source files that are not those of digest {digest[:12]}")
    place = folder / digest
    if place.is_dir():
        return place
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    for name, content in files.items():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise SidestepError(f"a source file outside its folder: {name!r}")
        path = new.joinpath(*pure.parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        os.rename(new, place)  # noqa: PTH104 - a folder in the place of nothing
    except OSError:
        if not place.is_dir():
            raise
    return place
