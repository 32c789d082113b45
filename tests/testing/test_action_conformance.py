"""X5: an action of a plugin that breaks one rule of its contract is found out on real shards, and the rule is named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from msgspec.structs import replace

from sidestep.backends.process import ProcessBackend
from sidestep.fleet import extensions
from sidestep.fleet.actions import ActionMaker
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.plugins import ACTIONS, Offer, PluginError, ShardAction, Target
from sidestep.plugins.hook import Hook
from sidestep.plugins.makers import Makers
from sidestep.testing import action_rules, check_action
from sidestep.testing.__main__ import main
from sidestep.testing.deed import target
from sidestep.testing.subject import CounterSubject

pytestmark = pytest.mark.fleet

#: the shard dies before others when memory is short: seen by the kernel, and by anybody
KEEP = 'test -s before || { cat "/proc/$PID/oom_score_adj" >new && mv new before; } || exit 1\n'
SET = 'for p in $PIDS; do echo 700 >"/proc/$p/oom_score_adj" || exit 1; done'
GOOD = Offer(
    says="dies before others",
    execute=KEEP + SET,
    verify='test "$PID" != 0 || exit 1\n'
    'for p in $PIDS; do test "$(cat "/proc/$p/oom_score_adj")" = 700 || exit 1; done',
    revert='test -s before || exit 0\nfor p in $PIDS; do cat before >"/proc/$p/oom_score_adj" || exit 1; done',
    loss=0.0,
)


def action(**changes: Any) -> Callable[[Mapping[str, Any]], ShardAction]:
    """One that keeps every rule, but for what is changed."""

    class First:
        def __init__(self, params: Mapping[str, Any]) -> None:
            del params

        def offer(self, target: Target) -> Offer | None:
            return replace(GOOD, **{k: v(target) if callable(v) else v for k, v in changes.items()})

    return First


class Moody(Hook):
    asked = itertools.count()

    def offer(self, target: Target) -> Offer | None:
        return replace(GOOD, cpu=float(next(self.asked)))


class Raises(Hook):
    def offer(self, target: Target) -> Offer | None:
        return replace(GOOD, cpu=1.0 / target.cpu)


#: what is wrong with each, and the rule that names it
MUTANTS: dict[str, tuple[Any, str]] = {
    "does not answer for a shard that needs nothing": (Raises, "answers"),
    "hides a command": (action(revert=GOOD.revert + " #\u202e"), "answers"),
    "holds to less than nothing": (action(cpu=-1.0), "answers"),
    "answers as it likes": (Moody, "same"),
    "validate writes into the state": (action(validate="touch ../../state/seen"), "validate"),
    "execute does nothing": (action(execute="true"), "execute"),
    "revert guesses what was before": (action(revert=SET.replace("700", "300")), "revert"),
    "forgets what was before when repeated": (action(execute=KEEP.replace("test -s before ||", "") + SET), "twice"),
    "revert fails where nothing was done": (action(revert="test -s before || exit 4\n" + GOOD.revert), "never"),
    "a half written note of before": (
        action(execute='test -e before || { : >before; sleep 0.2; cat "/proc/$PID/oom_score_adj" >before; }\n' + SET),
        "half",
    ),
    "kills the shard": (action(revert=GOOD.revert + '\nkill -9 -- "-$PID"'), "alive"),
    "keeps its notes in the state": (action(execute=GOOD.execute + "\ncp before ../../state/"), "state"),
    "does it to all on the host": (
        action(execute=GOOD.execute + "\n" + SET.replace("$PIDS", '$(pgrep -f "counter.py serve")')),
        "neighbour",
    ),
    "revert needs the shard": (action(revert='test "$PID" != 0 || exit 5\n' + GOOD.revert), "dead"),
    "leaves a process": (
        action(execute=GOOD.execute + "\nsetsid sleep 4321 </dev/null >/dev/null 2>&1 &\nsleep 0.1"), "leaves"
    ),
    "takes longer than it says": (action(execute=GOOD.execute + "\nsleep 3", seconds=0.4), "quick"),
}  # fmt: skip


def test_one_that_keeps_every_rule_passes() -> None:
    """Here a few rules; `make examples` tries all of them with another."""
    rules = ("answers", "same", "execute", "half", "neighbour")
    card = check_action(action(), "first", only=rules)
    assert card.ok and [found.rule for found in card.findings] == list(rules), card.text()
    assert not card.unchecked and "5 holds" in card.text() and set(rules) < set(action_rules())


@pytest.mark.parametrize("mutant", [*MUTANTS])
def test_a_broken_action_is_found_out_by_the_rule_that_it_breaks(mutant: str) -> None:
    maker, rule = MUTANTS[mutant]
    card = check_action(maker, "mutant", {"says": "x", "execute": "x", "verify": "x", "revert": "x", "loss": 0}
                        if maker in (Moody, Raises) else {}, only=(rule,))  # fmt: skip
    assert card.broken == (rule,), card.text()


def test_every_rule_has_a_mutant() -> None:
    assert {rule for _, rule in MUTANTS.values()} == set(action_rules())


def test_what_cannot_be_done_here_is_not_checked_and_says_why() -> None:
    card = check_action(action(validate="echo no such app >&2; exit 1"), "elsewhere", only=("revert",))
    assert card.ok and card.unchecked == ("revert",) and "no such app" in card.text()

    class Picky:
        def __init__(self, params: Mapping[str, Any]) -> None:
            del params

        def offer(self, target: Target) -> Offer | None:
            return GOOD if target.app == "mine" else None

    assert check_action(Picky, "picky", only=("revert",)).unchecked == ("revert",)


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no rule is called"):
        check_action(action(), "first", only=("nothing",))


def test_ours_is_found_like_anybodys_and_refuses_params_that_make_no_offer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Makers[ActionMaker](ACTIONS)["hook"](
        {"says": "naps", "execute": "a", "verify": "b", "revert": "c", "loss": 1}
    )
    spec = CounterSubject(make=lambda: ProcessBackend("kit")).shard(1, Label("h1"))
    offer = found.offer(target(spec))
    assert offer is not None and (offer.says, offer.validate, offer.cpu) == ("naps", ":", None)
    for params, why in (({"cpus": 1}, "cpus, which is nothing"), ({"says": 1}, "make no offer"), ({}, "make no offer")):
        with pytest.raises(UsageError, match=why):
            Hook(params)
    given = json.dumps({f: getattr(GOOD, f) for f in ("says", "execute", "verify", "revert", "loss")})
    assert main(["hook", "--params", given, "--only", "answers,same", "--json"]) == 0
    assert [each["verdict"] for each in json.loads(capsys.readouterr().out)["findings"]] == ["holds", "holds"]
    assert main(["hook", "--params", "{"]) == 2


def test_plugins_of_a_group_are_looked_up_once_however_often_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked, found = [], extensions.entries
    monkeypatch.setattr(extensions, "entries", lambda group: looked.append(group) or found(group))
    makers = Makers[ActionMaker](ACTIONS)
    assert all("hook" in makers and makers["hook"] is Hook for _ in range(1000))
    assert looked == [ACTIONS] * 2, "once for the names, once to import it"


def test_an_action_that_cannot_be_loaded_says_why_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged, found = Makers[ActionMaker](ACTIONS), extensions.entries
    assert "hook" in plugged and "theirs" not in plugged and len(plugged) == len(list(plugged))

    def install(value: str) -> None:
        entry = EntryPoint(name="theirs", value=value, group=ACTIONS)
        monkeypatch.setattr(
            extensions, "entries", lambda group: {"theirs": entry} if group == ACTIONS else found(group)
        )

    install("no_such_module_anywhere:X")
    with pytest.raises(PluginError, match="theirs"):
        plugged["theirs"]({})
    with pytest.raises(KeyError):
        plugged["others"]
    install("sidestep.fleet.labels:LIMIT")
    with pytest.raises(PluginError, match="cannot be called"):
        Makers[ActionMaker](ACTIONS)["theirs"]({})
