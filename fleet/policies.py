"""Named policies: bundles of keys of ``[policy]`` in TOML files, which are put one over the other.

A policy is looked for by name: first in the user's folder, then among those shipped. A fleet
file names some with ``use``; a named policy may itself ``use`` others. Laid from the first to
the last, the file's own keys on top, the later one wins; lists (``goals``, ``kinds``) are put one
after the other without repeats. What comes out is one flat ``Policy``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from sidestep.fleet.config_document import read_document
from sidestep.fleet.config_problems import ConfigErrors, Problems
from sidestep.fleet.config_read import NAME, NAME_HINT, name_of
from sidestep.fleet.config_tables import closest, fields
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub

SHIPPED: Final = Path(__file__).resolve().parent.parent / "policies"
#: lists that add up instead of replacing each other
LISTS: Final = ("goals", "kinds", "constraints")
#: the goals that are ours; ``planning.goals`` makes each of them (held equal by a test)
GOALS: Final = ("headroom", "cost", "affinity", "spread")
#: one file; a device is not read into memory
MAX_BYTES: Final = 1 << 20
_HINT: Final = "see docs/policies.md for what a policy's file says"


class NamedPolicy(Struct, frozen=True, kw_only=True):
    """One policy by its name; ``values`` are the keys that it writes itself, read and checked."""

    name: Label
    does: Label
    source: str
    shipped: bool
    use: tuple[Label, ...] = ()
    #: the line on which it says so
    use_line: int = 0
    values: dict[str, Any] = {}
    #: why it cannot be used, with file, line and remedy; "" if it can
    problem: str = ""


class UnknownPolicy(ConfigError):
    """No policy has that name."""


Load = Callable[[str], NamedPolicy]


def user_dir() -> Path:
    """Where people put their own policies: ``$XDG_CONFIG_HOME/sidestep/policies``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "sidestep", "policies")


def files() -> dict[str, Path]:
    """The file of every name that ``load`` knows, by name; a user's policy hides a shipped one of its name."""
    found = {path.stem: path for folder in (SHIPPED, user_dir()) if folder.is_dir() for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def known() -> tuple[NamedPolicy, ...]:
    """Every policy there is, by name; one that cannot be read says so in ``problem``, and hides none of the others."""
    found = []
    for name, path in files().items():
        try:
            found.append(load(name))
            layers((name,), load)
        except ConfigError as error:
            if found and found[-1].name == name:
                found[-1] = msgspec.structs.replace(found[-1], problem=str(error))
            else:
                found.append(
                    NamedPolicy(
                        name=scrub(name), does=Label(""), source=str(path), shipped=path.parent == SHIPPED,
                        problem=str(error),
                    )
                )  # fmt: skip
    return tuple(found)


def load(name: str) -> NamedPolicy:
    """The policy of that name, checked. Raises ConfigError, which names file, line, value and remedy."""
    path = files().get(name)
    if path is None:
        said = f"no policy is called {name}; one of yours is a file in {user_dir()}"
        raise UnknownPolicy("", 0, "use", name, said, hint=closest(name, files()))
    source = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            source, 0, "", None, f"cannot be read: {error.strerror}", hint="check its permissions"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(source, 0, "", None, "is not UTF-8 text", hint="save the file as UTF-8") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(source, 0, "", None, f"is larger than {MAX_BYTES} bytes", hint=_HINT)
    return parse(text, source, name, shipped=path.parent == SHIPPED)


def parse(text: str, source: str, name: str, *, shipped: bool = False) -> NamedPolicy:
    """The policy that a TOML text is. Raises ConfigError, or ConfigErrors for several problems."""
    document = read_document(text, source)
    problems = Problems([document])
    if not NAME.fullmatch(name):
        problems.add((), name, "the file's name is no usable name of a policy", NAME_HINT, document)
    if document.includes:
        problems.add(("include",), list(document.includes), "a policy includes nothing", "write use under [policy]")
    for key, value in document.tree.items():
        if key not in {"does", "policy"}:
            problems.add((key,), None, "unknown key or section", closest(key, ("does", "policy")), document)
        elif key == "does" and (not isinstance(value, str) or not value.strip() or scrub(value) != value):
            said = f"must be a text, not {name_of(value)}" if not isinstance(value, str) else "must be a printable text"
            problems.add((key,), value, said, "say in a sentence what the policy does", document)
        elif key == "policy" and not isinstance(value, dict):
            problems.add((key,), value, "is a table, not a value", "write [policy] and put the keys under it", document)
    table = document.tree.get("policy", {})
    values = fields("policy", ("policy",), table, problems, document) if isinstance(table, dict) else {}
    if "does" not in document.tree:
        problems.add(("does",), None, "is missing", 'write does = "..." above [policy]', document)
    if "name" in values:
        problems.add(("policy", "name"), values["name"], "the file's name is the policy's", "remove it", document)
    if isinstance(table, dict) and "override" in table:
        problems.add(("policy", "override"), table["override"], "overrides nothing", "remove it", document)
    problems.finish()
    return NamedPolicy(
        name=scrub(name), does=scrub(document.tree["does"]), source=source, shipped=shipped,
        use=values.pop("use", ()), use_line=document.line(("policy", "use")), values=values,
    )  # fmt: skip


def layers(names: Sequence[str], find: Load = load, above: tuple[NamedPolicy, ...] = ()) -> tuple[NamedPolicy, ...]:
    """The named policies and all that they use, in the order in which they are laid, each once.

    ``above`` are those that use them. Raises ConfigError for a file that cannot be used or a
    circle, UnknownPolicy for a name that is not known.
    """
    found: dict[str, NamedPolicy] = {}
    for name in names:
        chain = [str(each.name) for each in above]
        if name in chain:
            circle = " → ".join((*chain[chain.index(name) :], name))
            raise _refused(above[-1], name, f"goes round in a circle: {circle}", "remove one of these uses")
        try:
            one = find(name)
        except UnknownPolicy as error:
            if not above:
                raise
            raise _refused(above[-1], name, "no policy has this name", error.hint) from None
        for layer in (*layers(one.use, find, (*above, one)), one):
            found.setdefault(layer.name, layer)
    return tuple(found.values())


def _refused(policy: NamedPolicy, name: str, message: str, hint: str) -> ConfigError:
    return ConfigError(policy.source, policy.use_line, "policy.use", name, message, hint=hint)


def merged(over: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Tables of ``[policy]`` laid one over the other: later values win, lists are continued without repeats."""
    out: dict[str, Any] = {}
    for values in over:
        lists = {key: (*out.get(key, ()), *values[key]) for key in LISTS if key in values}
        out |= {**values, **{key: tuple(dict.fromkeys(items)) for key, items in lists.items()}}
    return out


def compose(names: Sequence[str], own: Mapping[str, Any], find: Load = load) -> dict[str, Any]:
    """The keys of one flat policy: the named ones in order, then the own keys. Raises as ``layers``.

    Without a name of its own it is called by what it uses.
    """
    values = merged([*(layer.values for layer in layers(names, find)), own])
    return {"name": scrub("+".join(names)), **values} if names else values


def over(policy: Policy, names: Sequence[str], find: Load = load) -> Policy:
    """A policy with named ones laid over it. Raises as ``layers``.

    Its own lists are continued only where they are not the default ones, which nobody asked for.
    """
    plain = Policy()
    lists = {key: getattr(policy, key) for key in LISTS if getattr(policy, key) != getattr(plain, key)}
    values = merged([lists, *(layer.values for layer in layers(names, find))])
    return msgspec.structs.replace(policy, **{"name": scrub("+".join(names)), **values}) if names else policy


def composed(values: Mapping[str, Any], problems: Problems, find: Load = load) -> dict[str, Any]:
    """The same for the values of a fleet file's ``[policy]``; what is wrong with its ``use`` is noted."""
    own = {key: value for key, value in values.items() if key != "use"}
    fine = []
    for name in values.get("use", ()):
        try:
            layers((name,), find)
            fine.append(name)
        except UnknownPolicy as error:
            problems.add(("policy", "use"), name, "no policy has this name", error.hint)
        except ConfigError as error:
            problems.found.extend(error.problems if isinstance(error, ConfigErrors) else (error,))
    return compose(fine, own, find)


class Level(NamedTuple):
    """One level of aggressiveness."""

    #: what becomes of the doubt that is allowed (1 - min_probability), then of the probability itself, and of min_gain
    doubt: float
    chance: float
    gain: float
    #: the least important priority of actions that are proposed
    priority: int


LEVELS: Final[Mapping[int, Level]] = {
    1: Level(0.1, 1.0, 4.0, 1),
    2: Level(0.5, 1.0, 2.0, 3),
    3: Level(1.0, 1.0, 1.0, 5),
    4: Level(1.0, 0.75, 0.5, 5),
    5: Level(1.0, 0.5, 0.0, 5),
}


def effective(policy: Policy) -> Policy:
    """The policy with the numbers that its aggressiveness makes of them, and an aggressiveness of 3.

    The same policy where it is 3. What it leaves out for its priority, ``least_priority`` says.
    """
    if policy.aggressiveness == 3:
        return policy
    level = LEVELS[policy.aggressiveness]
    return msgspec.structs.replace(
        policy,
        min_probability=level.chance * (1.0 - level.doubt * (1.0 - policy.min_probability)),
        min_gain=min(1.0, level.gain * policy.min_gain),
        aggressiveness=3,
    )


def least_priority(policy: Policy) -> int:
    """The least important priority (1 to 5) of actions that may be proposed."""
    return LEVELS[policy.aggressiveness].priority
