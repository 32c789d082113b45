"""ssh_config, read by ourselves: parsed once, asked for every host, and wrong in one block only.

A block that cannot be used is an error for the hosts that it is about, not for the fleet.
The first value of a keyword wins, as it does for ssh; identities add up.
"""

from __future__ import annotations

import getpass
import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from sidestep.backends.ssh.sshconfig_options import EVERY, IGNORED, PREFERRED, PROXY, REFUSED, REST, SEVERAL, USED
from sidestep.backends.ssh.sshconfig_words import criteria, expand, in_patterns, keyword_of, split
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import scrub

SYSTEM: Final = "/etc/ssh/ssh_config"
#: hosts of which the settings are kept
REMEMBERED: Final = 4096
#: how deep files may include one another, as for ssh
DEPTH: Final = 16
#: most characters of one file
LARGEST: Final = 16 << 20
_TESTS: Final = ("host", "originalhost", "user", "localuser")
#: Match conditions that would run a command, or look at what there is not when a fleet is resolved
_UNTESTED: Final = ("exec", "canonical", "final", "tagged", "localnetwork", "version", "command", "sessiontype")


class Said(Struct, frozen=True):
    """One option as written: its words, and where."""

    keyword: str
    words: tuple[str, ...]
    file: str
    line: int
    #: in the system's own file
    system: bool = False
    #: why the line cannot be used
    problem: str = ""

    @property
    def value(self) -> str:
        """The first word."""
        return self.words[0] if self.words else ""

    def error(self, message: str, hint: str = "", value: str | None = None) -> ConfigError:
        """What is wrong with it, naming file, line and value."""
        said = scrub(" ".join(self.words) if value is None else value)
        return ConfigError(self.file, self.line, scrub(self.keyword), said, message, hint=hint)


class Section(Struct):
    """A Host or Match block with its lines; a file begins with one that is about every host."""

    said: Said
    body: list[Said | Included] = field(default_factory=list)


class Included(Struct, frozen=True):
    """Files in place of an Include line."""

    files: tuple[tuple[Section, ...], ...]


class Settings(Struct):
    """What the configuration says about one host: first values, and those that add up."""

    host: str
    user: str
    first: dict[str, Said] = field(default_factory=dict)
    every: dict[str, list[Said]] = field(default_factory=dict)
    #: patterns of IgnoreUnknown
    unknown: tuple[str, ...] = ()

    def add(self, said: Said) -> None:
        """Take one line. Raises ConfigError when it cannot be used."""
        if said.problem:
            if not (said.problem == _UNKNOWN and in_patterns(self.unknown, said.keyword)):
                raise said.error(said.problem, _hint(said))
            return
        if said.keyword == "ignoreunknown" and not self.unknown:
            self.unknown = tuple(said.value.lower().split(","))
        if said.keyword in EVERY:
            lines = self.every.setdefault(said.keyword, [])
            if all(said.words != other.words for other in lines):
                lines.append(said)
        elif said.keyword in PROXY:
            self.first.setdefault("proxy", said)
        else:
            self.first.setdefault(said.keyword, said)

    def check(self) -> None:
        """Refuse what changes whom we trust or what we reach, and that we do not do. Raises ConfigError."""
        for said in self.first.values():
            refusal = REFUSED.get(said.keyword)
            value = " ".join(said.words).lower()
            if refusal is not None and value not in refusal.harmless and not (refusal.stock and said.system):
                raise said.error("is not done by sidestep, and leaving it out would change the connection",
                                 refusal.remedy)  # fmt: skip
            if said.keyword == PREFERRED and "publickey" not in value.split(","):
                raise said.error("leaves out publickey, the only way that sidestep logs in", "add publickey")


_UNKNOWN: Final = "is no option that sidestep knows"


class SshConfig:
    """The files of one configuration, parsed. ``load`` makes it; ``EMPTY`` says nothing."""

    def __init__(self, files: tuple[tuple[Section, ...], ...] = (), source: str = "") -> None:
        self._files, self.source = files, source
        self._asked: dict[tuple[str, str, str], Settings] = {}

    @classmethod
    def load(cls, path: str | Path = "") -> SshConfig:
        """Read the file at ``path``; empty is the user's own and then the system's, "none" is none.

        Reads files, so call it in a thread. Raises ConfigError for a file that is named and
        cannot be read; what is wrong inside is raised by ``settings``, for the hosts concerned.
        """
        if str(path) == "none":
            return cls()
        if str(path):
            file = Path(path).expanduser()
            return cls((_read(file, 0, system=False, must=True),), str(file))
        user = Path("~/.ssh/config").expanduser()
        own = _read(user, 0, system=False, must=False)
        return cls((own, _read(Path(SYSTEM), 0, system=True, must=False)), str(user))

    def names(self) -> tuple[str, ...]:
        """Every name that a Host line spells out, in order; patterns, negations and Match blocks name nobody."""
        found: dict[str, None] = {}
        for file in self._files:
            for section in _sections(file):
                if section.said.keyword == "host" and not any(word.startswith("!") for word in section.said.words):
                    found |= dict.fromkeys(word for word in section.said.words if not set(word) & set("*?"))
        return tuple(found)

    def settings(self, host: str, user: str = "", *, jump: str = "") -> Settings:
        """What is said about ``host``, as it is written on a command line; ``user`` and ``jump`` are given there.

        Raises ConfigError, naming file, line, value and remedy, for a line about this host
        that cannot be used.
        """
        asked = (host, user, jump)
        if asked in self._asked:  # The same few jump hosts, for every host behind them.
            return self._asked[asked]
        settings = Settings(host, user)
        if jump:
            settings.first["proxy"] = Said("proxyjump", (jump,), "", 0)
        for file in self._files:
            _walk(file, settings)
        settings.check()
        if len(self._asked) < REMEMBERED:
            self._asked[asked] = settings
        return settings


def _sections(file: tuple[Section, ...]) -> Iterator[Section]:
    for section in file:
        yield section
        for line in section.body:
            if isinstance(line, Included):
                for included in line.files:
                    yield from _sections(included)


def _walk(file: tuple[Section, ...], settings: Settings) -> None:
    for section in file:
        if not _applies(section.said, settings):
            continue
        for part in section.body:
            if isinstance(part, Said):
                settings.add(part)
                continue
            for included in part.files:
                _walk(included, settings)


def _applies(said: Said, settings: Settings) -> bool:
    if said.keyword == "host":
        if said.problem:
            raise said.error(said.problem)
        # A thousand blocks with one name each are asked about every host.
        return said.words == (settings.host,) or in_patterns(said.words, settings.host)
    return _match(said, settings)


def _match(said: Said, settings: Settings) -> bool:
    """Whether every condition of a Match line holds. A condition that is not tested raises, if it decides."""
    words = list(said.words)
    if words == ["all"] or not said.keyword:
        return True
    doubt: ConfigError | None = said.error(said.problem) if said.problem else None
    while words:
        given = words.pop(0)
        name = given.lower().lstrip("!")
        if name in _TESTS:
            if not words:
                raise said.error(f"{name} needs a list of patterns")
            patterns, subject = words.pop(0), _subject(name, settings)
            if name in ("host", "originalhost"):  # Unlike those of Host, these take small and capital letters as one.
                patterns, subject = patterns.lower(), subject.lower()
            holds = in_patterns(tuple(patterns.split(",")), subject)
            if holds == given.startswith("!"):
                return False
        elif name in _UNTESTED:
            if name not in ("canonical", "final") and words:
                words.pop(0)
            doubt = doubt or said.error(
                f"the condition {name} is not tested by sidestep, and the block may be about {settings.host}",
                "write conditions host, originalhost, user or localuser, or add one that leaves the fleet out",
            )
        elif name == "all":
            doubt = doubt or said.error("all cannot be combined with other conditions")
        else:
            doubt = doubt or said.error(f"{name} is no condition", f"conditions are all, {', '.join(_TESTS)}")
    if doubt is not None:
        raise doubt
    return True


def _subject(name: str, settings: Settings) -> str:
    if name == "localuser":
        return getpass.getuser()
    if name == "user":
        said = settings.first.get("user")
        return settings.user or (said.value if said else getpass.getuser())
    said = settings.first.get("hostname")
    if name == "originalhost" or said is None:
        return settings.host
    try:
        return expand(said.value, {"h": settings.host})
    except ValueError as error:
        raise said.error(str(error)) from error


def _read(path: Path, depth: int, *, system: bool, must: bool) -> tuple[Section, ...]:
    """The sections of one file. What is wrong inside is kept for the hosts it is about."""
    try:
        # Opened once, so that what is checked is what is read.
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()), strict=not must)
            text = file.read(LARGEST + 1).decode("utf-8", errors="surrogateescape")
    except FileNotFoundError as error:
        if must:
            raise ConfigError(str(path), 0, "", None, "there is no such ssh_config") from error
        return ()
    except OSError as error:
        raise ConfigError(str(path), 0, "", None, f"cannot be read: {error.strerror}") from error
    if len(text) > LARGEST:
        raise ConfigError(str(path), 0, "", None, f"is larger than {LARGEST >> 20} MiB")
    sections = [Section(Said("", (), str(path), 0))]
    for number, line in enumerate(text.split("\n"), 1):
        said = _parse(line, str(path), number, system=system)
        if said is None:
            continue
        if said.keyword in ("host", "match"):
            sections.append(Section(said))
        elif said.keyword == "include" and not said.problem:
            sections[-1].body.extend(_include(said, depth))
        else:
            sections[-1].body.append(said)
    return tuple(sections)


def _check_owner(path: Path, found: os.stat_result, *, strict: bool) -> None:
    """Nobody else may write what decides whom we talk to; ssh asks the same of its own file."""
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH if strict else stat.S_IWOTH)
    if stat.S_ISREG(found.st_mode) and (writable or found.st_uid not in (0, os.getuid())):
        raise ConfigError(
            str(path), 0, "", None, "may be written by others, who could send connections elsewhere",
            hint=f"chmod go-w {path}, and make it your own",
        )  # fmt: skip


def _parse(line: str, file: str, number: int, *, system: bool) -> Said | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    keyword, rest = keyword_of(text)
    problem = ""
    try:
        words = (rest,) if keyword in REST else criteria(rest) if keyword == "match" else split(rest)
    except ValueError as error:
        words, problem = (rest,), str(error)
    if not problem:
        problem = _wrong(keyword, words)
    return Said(keyword, words, file, number, system, problem)


def _wrong(keyword: str, words: tuple[str, ...]) -> str:
    known = USED | REFUSED.keys() | IGNORED | {PREFERRED, "host", "match", "include"}
    if keyword not in known:
        return _UNKNOWN
    if not words or not words[0]:
        return "has no value"
    if len(words) > 1 and keyword not in SEVERAL | {"host", "match"}:
        return "has more than one value"
    return ""


def _hint(said: Said) -> str:
    if said.problem == _UNKNOWN:
        return "correct it, take it out, or name it in an IgnoreUnknown line above"
    return "ssh -G HOST shows how ssh reads the file"


def _include(said: Said, depth: int) -> Iterator[Said | Included]:
    if depth + 1 >= DEPTH:
        yield _broken(said, f"files are included more than {DEPTH} deep")
        return
    base = Path("/etc/ssh") if said.system else Path("~/.ssh").expanduser()
    for pattern in said.words:
        files: list[tuple[Section, ...]] = []
        for name in sorted(glob.glob(str(base / Path(pattern).expanduser()))):  # noqa: PTH207 - patterns may be absolute
            try:
                files.append(_read(Path(name), depth + 1, system=said.system, must=False))
            except ConfigError as error:
                yield _broken(said, f"includes {name}: {error.args[0]}")
        yield Included(tuple(files))


def _broken(said: Said, problem: str) -> Said:
    return Said(said.keyword, said.words, said.file, said.line, said.system, problem)
