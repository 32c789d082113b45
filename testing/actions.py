"""``check_action``: the rules that an action of a plugin keeps, each tried on real shards over real SSH."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from sidestep.backends.process import ProcessBackend
from sidestep.fleet.actions import ActionMaker, ActionSpec, applied
from sidestep.fleet.errors import HostError, UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.testing.card import Finding, ReportCard, Verdict, finding
from sidestep.testing.case import Broken, insist
from sidestep.testing.deed import IN_FORCE, NAME, NOT_IN_FORCE, Deed, Shards, target
from sidestep.testing.ground import EmbeddedGround, NotHere
from sidestep.testing.subject import CounterSubject

__all__ = ["ACTION_RULES", "action_rules", "check_action"]

#: seconds for one rule, and after which moments a command is killed half way
PATIENCE: Final = 120.0
MOMENTS: Final = (0.0, 0.002, 0.01, 0.05)
#: shards that one rule uses
_ROOM: Final = 10
Rule = tuple[str, Callable[[Deed], Awaitable[None]]]


def check_action(
    maker: ActionMaker,
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    shards: Shards | None = None,
    only: Collection[str] = (),
    told: Callable[[Finding], None] = lambda _: None,
) -> ReportCard:
    """Try every rule on embedded hosts that are started for it, and return the card; it never raises for the action.

    ``params`` are those of the fleet file. ``shards`` makes the declaration of a shard for each number, on the host
    given; without it a counter is what the action is done to. Not within an event loop. Raises UsageError for a
    rule that does not exist.
    """
    unknown = sorted(set(only) - set(ACTION_RULES))
    if unknown:
        raise UsageError(f"no rule is called {', '.join(unknown)}", hint=f"rules: {', '.join(ACTION_RULES)}")
    given = dict(params or {})
    made = shards or CounterSubject(make=lambda: ProcessBackend("kit")).shard
    with tempfile.TemporaryDirectory(prefix="sidestep-kit-") as folder:
        found = asyncio.run(_all(maker, given, made, Path(folder), only, told))
    return ReportCard(
        backend=scrub(name), subject=Label("real shards"), capabilities=(Label("action"),), findings=tuple(found)
    )


async def _all(
    maker: ActionMaker, params: dict[str, Any], shards: Shards, folder: Path, only: Collection[str],
    told: Callable[[Finding], None],
) -> list[Finding]:  # fmt: skip
    found = []
    async with AsyncExitStack() as stack:
        ground = EmbeddedGround(folder, hosts=1)
        begun = False
        for at, (rule, (says, attempt)) in enumerate(ACTION_RULES.items()):
            if only and rule not in only:
                continue
            if not begun and rule not in MADE_UP:
                await stack.enter_async_context(ground)
                begun = True
            deed = Deed(ground=ground, maker=maker, params=params, shards=shards, number=_ROOM * at)
            found.append(await _attempt(rule, says, attempt, deed))
            told(found[-1])
    return found


async def _attempt(rule: str, says: str, attempt: Callable[[Deed], Awaitable[None]], deed: Deed) -> Finding:
    began, verdict, detail = time.monotonic(), Verdict.HOLDS, ""
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                if rule not in MADE_UP:
                    await deed.begin()
                    if rule != "validate":
                        await deed.can()
                await attempt(deed)
        finally:
            if rule not in MADE_UP:
                await deed.end()
    except Broken as error:
        verdict, detail = Verdict.BROKEN, str(error)
    except NotHere as error:
        verdict, detail = Verdict.NOT_CHECKED, str(error)
    except TimeoutError:
        verdict, detail = Verdict.BROKEN, f"it did not end within {PATIENCE:.0f} s"
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is a finding about it
        verdict, detail = Verdict.BROKEN, f"{type(error).__name__}: {error}"
    return finding(rule, says, verdict, detail, time.monotonic() - began)


# -- on targets that are made up


async def _answers(deed: Deed) -> None:
    spec, many = ActionSpec(name=NAME, plugin="kit"), 0
    for cpu in (0.0, 0.3, 2.0, 64.0):
        for memory in (0.0, 1 << 30, 1 << 42):
            about = target(deed.mine, cpu=cpu, memory=memory, priority=1 + many % 5)
            many += 1
            offer = deed.maker(deed.params).offer(about)
            if offer is not None:
                applied(spec, about, offer)


async def _same(deed: Deed) -> None:
    about = target(deed.mine)
    one, two = deed.maker(deed.params), deed.maker(deed.params)
    insist(
        one.offer(about) == one.offer(about) == two.offer(about), "asked twice about one shard, it offers two things"
    )


# -- on real shards


async def _validate(deed: Deed) -> None:
    before = await deed.facts(deed.mine)
    await deed.can()
    _unchanged(before, await deed.facts(deed.mine), "validate")


async def _execute(deed: Deed) -> None:
    await deed.done()
    insist(await deed.run("verify") == IN_FORCE, "a moment later it is not in force any more")


async def _revert(deed: Deed) -> None:
    before = await deed.facts(deed.mine)
    await deed.done()
    await deed.undone()
    _unchanged(before, await deed.facts(deed.mine), "execute and revert")


async def _twice(deed: Deed) -> None:
    before = await deed.facts(deed.mine)
    await deed.done()
    await deed.done()
    await deed.undone()
    await deed.undone("again")
    _unchanged(before, await deed.facts(deed.mine), "execute and revert, both twice,")


async def _never(deed: Deed) -> None:
    before = await deed.facts(deed.mine)
    await deed.undone()
    _unchanged(before, await deed.facts(deed.mine), "revert, though nothing was done,")


async def _half(deed: Deed) -> None:
    before = await deed.facts(deed.mine)
    for at, moment in enumerate(MOMENTS):
        killer = f"{{ sleep {moment}; kill -s KILL -- -$$; }} &\n"
        try:
            await deed.run("do", command=killer + deed.one.execute, key=f"half-{at}")
        except HostError as error:
            insist("ended with status" in str(error), str(error))
        if at % 2:
            await deed.done(f"half-{at}")
        try:
            await deed.run("undo", command=killer + deed.one.revert, key=f"half-{at}")
        except HostError as error:
            insist("ended with status" in str(error), str(error))
        await deed.undone(f"half-{at}")
        _unchanged(before, await deed.facts(deed.mine), f"execute and revert, killed after {moment:g} s and repeated,")


async def _alive(deed: Deed) -> None:
    before = await deed.seen(deed.mine)
    for done in (deed.done, deed.undone):
        await done()
        after = await deed.seen(deed.mine)
        insist((after.pid, after.started) == (before.pid, before.started), "the shard's process is another one")
    await deed.serves()


async def _state(deed: Deed) -> None:
    before = (await deed.facts(deed.mine))["files of its state"]
    await deed.done()
    after = (await deed.facts(deed.mine))["files of its state"]
    insist(before == after, f"while it is in force the shard's state, which moves, has {after or 'nothing'}")


async def _neighbour(deed: Deed) -> None:
    before = await deed.facts(deed.other)
    await deed.done()
    status = await deed.run("verify", shard=deed.other)
    insist(status == NOT_IN_FORCE, f"done to one shard, its verify ends with status {status} for the one beside it")
    _unchanged(before, await deed.facts(deed.other), "execute, on the shard beside it,")


async def _dead(deed: Deed) -> None:
    await deed.done()
    await deed.kill()
    status = await deed.run("undo")
    insist(status != IN_FORCE, "the shard is dead, and its verify says that it is in force")


async def _leaves(deed: Deed) -> None:
    before = deed.strangers()
    await deed.done()
    left = deed.strangers() - before
    await deed.undone()
    left |= deed.strangers() - before
    insist(not left, f"{len(left)} processes that it started run on")


async def _quick(deed: Deed) -> None:
    most = 0.0
    for what in ("validate", "do", "verify", "undo"):
        began = time.monotonic()
        await deed.run(what)
        most = max(most, time.monotonic() - began)
    insist(most <= 2 * deed.one.seconds, f"a command and verify took {most:.1f} s; it says {deed.one.seconds:g} each")


def _unchanged(before: dict[str, str], after: dict[str, str], what: str) -> None:
    for name, value in before.items():
        if after.get(name) != value:
            said = f"{what} left {name} at {_short(after.get(name, 'nothing'))}, not at {_short(value)}"
            raise Broken(said)
    insist(before.keys() == after.keys(), f"{what} left the shard with other processes")


def _short(text: str) -> str:
    return text if len(text) <= 60 else "something else"


#: that need no host
MADE_UP: Final = frozenset({"answers", "same"})
ACTION_RULES: Final[dict[str, Rule]] = {
    "answers": ("it answers for every target, and what it offers can be put into a plan and read", _answers),
    "same": ("the same target has the same offer", _same),
    "validate": ("validate changes nothing, and before anything is done verify ends with 1", _validate),
    "execute": ("after execute it is in force, and stays so", _execute),
    "revert": ("after revert all is as it was before", _revert),
    "twice": ("execute and revert may be repeated", _twice),
    "never": ("revert does no harm where nothing was done", _never),
    "half": ("what was killed half way is done, or taken back, by doing it again", _half),
    "alive": ("the shard's process stays the same, and serves afterwards", _alive),
    "state": ("nothing is put into the state of the shard, which moves", _state),
    "neighbour": ("the shard beside it is left alone", _neighbour),
    "dead": ("it is taken back where the shard is dead", _dead),
    "leaves": ("it leaves no process behind", _leaves),
    "quick": ("every command ends in the time that it says", _quick),
}


def action_rules() -> Sequence[str]:
    """All rules, in the order of the card."""
    return tuple(ACTION_RULES)
