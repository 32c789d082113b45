"""The policies that a question to the planner may name, laid over the fleet's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sidestep.autopilot.server_service import UnknownReference
from sidestep.fleet import policies
from sidestep.fleet.errors import ConfigError, UsageError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.nearest import near
from sidestep.fleet.questions import PolicyList, PolicyRow
from sidestep.planning.queries.diff import policy_lines


class Known(Mapping[str, Policy]):
    """Every policy that can be named, read when it is looked up; several at once with commas between them.

    Raises UnknownReference for a name that nobody knows, ConfigError for a file that cannot be used.
    """

    def __init__(self, own: Policy) -> None:
        self._own = own

    def __getitem__(self, name: str) -> Policy:
        if name == self._own.name:
            return self._own
        if name not in self:
            raise KeyError(name)
        return policies.over(self._own, _parts(name))

    def __contains__(self, name: object) -> bool:
        known = policies.files()
        return isinstance(name, str) and (name == self._own.name or all(part in known for part in _parts(name)))

    def __iter__(self) -> Iterator[str]:
        return iter({str(self._own.name): None, **dict.fromkeys(policies.files())})

    def __len__(self) -> int:
        return len(list(iter(self)))


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(",")]


def chosen(own: Policy, name: str, text: str) -> Policy:
    """The policy of that name, or that a file's text is, over the fleet's own.

    Raises UnknownReference for a name that nobody knows, UsageError for a file that cannot be used.
    """
    try:
        return _chosen(own, name, text)
    except ConfigError as error:
        raise UsageError(str(error.args[0]), hint=error.hint) from error


def _chosen(own: Policy, name: str, text: str) -> Policy:
    if text:
        stem = Path(name).stem
        one = policies.parse(text, name, stem)
        return policies.over(own, (stem,), lambda wanted: one if wanted == stem else policies.load(wanted))
    if not name:
        return own
    known = Known(own)
    if name not in known:
        wrong = next(part for part in _parts(name) if part not in known)
        raise UnknownReference(f"no policy {scrub(wrong)}", hint=f"{near(wrong, known)}; see: sidestep policies")
    return known[name]


def listing(own: Policy) -> PolicyList:
    """Every policy, the fleet's own first, with what it would change of it; one that cannot be used says why."""
    rows = [PolicyRow(name=own.name, used=True, summary=Label("what this fleet is planned by"))]
    for each in policies.known():
        if each.name == own.name:
            rows[0] = PolicyRow(name=own.name, used=True, summary=each.does)
            continue
        try:
            differs = policy_lines(own, policies.over(own, (str(each.name),)))
        except ConfigError as error:
            differs = [str(error)]
        rows.append(
            PolicyRow(
                name=each.name,
                used=str(each.name) in str(own.name).split("+"),
                summary=each.does,
                differs=tuple(scrub(line) for line in differs if not line.startswith("policy: name ")),
            )
        )
    return PolicyList(tuple(rows))
