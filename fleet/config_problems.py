"""What is wrong with a fleet's files: all of it, each with the file and line where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from sidestep.fleet.config_document import Document
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.toml_lines import Path


class ConfigErrors(ConfigError):
    """All problems of a fleet's files; ``problems`` lists them, the first one gives file and line."""

    def __init__(self, problems: tuple[ConfigError, ...]) -> None:
        first = problems[0]
        super().__init__(first.file, first.line, first.key, first.value, "")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def raise_all(problems: Sequence[ConfigError]) -> None:
    """Raise nothing, the one problem, or all of them as ConfigErrors."""
    if problems:
        raise problems[0] if len(problems) == 1 else ConfigErrors(tuple(problems))


class Problems:
    """Collects what is wrong, so that a person is told all of it in one go."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = tuple(documents)
        self.found: list[ConfigError] = []
        self._declared: dict[Path, list[tuple[Document, Path]]] = {}
        self._order = {document.source: number for number, document in enumerate(documents)}

    def declare(self, path: Path, document: Document, written: Path) -> None:
        """Note that the table ``path`` stands in a document as ``written``; a later one is asked first."""
        self._declared.setdefault(path, []).append((document, written))

    def place(self, path: Path, document: Document | None = None) -> tuple[str, int]:
        """File and line of a key, or of the nearest table above it."""
        if document is not None:
            return document.source, document.line(path)
        for end in range(len(path), 0, -1):
            for holder, written in reversed(self._declared.get(path[:2], ())):
                if end >= 2 and (line := holder.lines.get((*written, *path[2:end]))):
                    return holder.source, line
            for holder in reversed(self.documents):
                if line := holder.lines.get(path[:end]):
                    return holder.source, line
        return self.documents[0].source, 0

    def add(self, path: Path, value: object, message: str, hint: str = "", document: Document | None = None) -> None:
        """Note one problem at a key path; its place is looked up, in ``document`` if that is given."""
        source, line = self.place(path, document)
        self.found.append(ConfigError(source, line, ".".join(path), value, message, hint=hint))

    def finish(self) -> None:
        """Raise what was found, in the order of the files: one ConfigError, or ConfigErrors."""
        raise_all(sorted(self.found, key=lambda p: (self._order.get(p.file, 0), p.line)))
