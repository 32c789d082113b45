"""The eight workflows, key by key. Each ends on what it is about, or raises; nothing of what is seen is made up."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

from scripts.workflows.fleet import LOST, SPARE
from scripts.workflows.terminal import PATIENCE, NotSeen, Terminal
from sidestep.autopilot.demo.stage import Stage
from sidestep.fleet.errors import SidestepError

_ENDED: Final = "SUCCEEDED|CANCELLED|STALE|FAILED|PARTIAL"
Walk = Callable[[Terminal, Stage], Awaitable[None]]


async def glance(terminal: Terminal, stage: Stage) -> None:
    """Will anything run hot?"""
    await terminal.sees(r"PEAK.*\n\W+▲ h\d", r"P\(cpu", r"kv-\d\d")
    terminal.keep("1-glance")


async def approve(terminal: Terminal, stage: Stage) -> None:
    """Review and approve a plan"""
    ended = await _decided(terminal, "before predicted", "2", "peak")
    if ended != "SUCCEEDED":
        raise SidestepError(f"the plan ended {ended}")


async def _decided(terminal: Terminal, about: str, number: str, reason: str) -> str:
    """From any screen: approve the newest proposal about something, and follow it to its end; how it ended.

    A plan that was overtaken, or too late when it was approved, is followed by another: keys count of the one that ran.
    """
    until, before = time.monotonic() + 2 * PATIENCE, (terminal.keys, terminal.words)
    while time.monotonic() < until:
        terminal.keys, terminal.words = before
        await terminal.press("4")
        screen = await terminal.sees(rf"● #\d+ +PROPOSED +(?!too late).*{about}")
        (plan, *_) = re.findall(rf"● #(\d+) +PROPOSED +(?!too late).*{about}", screen)
        if not re.search(rf"plan #{plan} PROPOSED", screen):
            await terminal.press("g")  # the cursor is on a plan that was chosen before
        terminal.keep(f"{number}-plan")
        if await _confirmed(terminal, f"{number}-approve", reason):
            await terminal.press("Enter")
            ended = await _followed(terminal, f"{number}-running", f"{number}-after")
            if "too late" not in terminal.screen():
                return ended
    raise SidestepError(f"no proposal {about} came to anything")


async def _confirmed(terminal: Terminal, dialog: str, reason: str) -> bool:
    """``a`` and what the dialog asks for; False, with the dialog left, where the plan was overtaken or refused."""
    await terminal.press("a")
    screen = await terminal.sees("approve: this will run|approve is disabled", patience=30.0)
    if "approve: this will run" not in screen:
        return False
    if "will not begin, too late" in screen:
        await terminal.press("Escape")
        return False
    if number := re.search(r"type the plan's number, (\d+)", screen):
        await terminal.say(number[1])
        if reason:
            await terminal.press("Tab")
    await terminal.say(reason)
    terminal.keep(dialog)
    await terminal.press("Enter")
    screen = await terminal.sees(
        "it was refused|not approved|"
        rf"\A(?![\s\S]*approve: this will run)[\s\S]*plan #\d+ (APPROVED|SCHEDULED|RUNNING|{_ENDED})",
        patience=60.0,
    )
    if "not approved" in screen:
        raise SidestepError("the dialog wants something that was not typed")
    if "it was refused" in screen:
        await terminal.press("Escape")
        return False
    return True


async def _followed(terminal: Terminal, during: str, after: str) -> str:
    """On the page of a plan until it has ended; how it did."""
    await terminal.sees(r"\d of \d+ actions?")
    await terminal.sees("▶ [1-9] +running|plan #[0-9]+ (" + _ENDED + ")")
    terminal.keep(during)
    screen = await terminal.sees(rf"plan #\d+ ({_ENDED})")
    terminal.keep(after)
    return re.findall(rf"plan #\d+ ({_ENDED})", screen)[0]


async def drain(terminal: Terminal, stage: Stage) -> None:
    """Empty a host"""
    await terminal.sees(r"h1 +(ok|hot|warming) .*%.*%", "[1-9][0-9]* scored|band held")
    with terminal.aside():
        await _settled(terminal)
    await _asked(terminal)
    await terminal.say("kernel")
    await terminal.press("Tab")
    await terminal.say("30m")
    terminal.keep("3-order")
    await terminal.press("Enter")
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until:
        await _decided(terminal, "drains", "3", "kernel")
        await terminal.press("1")
        await terminal.sees(r"h1 +(draining|drained)")
        if await _drained(terminal):
            break  # else what is left is in the next plan
    else:
        raise SidestepError("h1 was not emptied")
    terminal.keep("3-after")
    await terminal.command("uncordon h1")
    await terminal.sees("accepts shards again")
    await terminal.press("Enter")
    await terminal.sees(r"h1 +(ok|hot|warming)")


async def _asked(terminal: Terminal) -> str:
    """The dialog of the order; asked for again where the daemon was too busy to answer."""
    before = terminal.keys, terminal.words
    for _ in range(5):
        terminal.keys, terminal.words = before
        await terminal.command("drain h1")
        with contextlib.suppress(NotSeen):
            return await terminal.sees("h1 can(not)? be emptied", patience=PATIENCE / 4)
        await terminal.press("Escape")  # it may come late, and would take what is typed next
    raise SidestepError("nobody says what would move off h1")


async def _settled(terminal: Terminal) -> None:
    """Until nothing on the host settles after an earlier move; what cannot go for another reason is no hindrance."""
    until = time.monotonic() + PATIENCE / 2
    while time.monotonic() < until:
        screen = await _asked(terminal)
        await terminal.press("Escape")
        if "SETTLING" not in screen:
            return
        await asyncio.sleep(5.0)


async def _drained(terminal: Terminal) -> bool:
    """Whether the host says soon that it is empty."""
    try:
        await terminal.sees(r"h1 +drained", patience=20.0)
    except SidestepError:
        return False
    return True


async def graduate(terminal: Terminal, stage: Stage) -> None:
    """Let the autopilot go further"""
    await terminal.press("t")
    await terminal.sees("what trust rests on")
    terminal.keep("4-trust")
    await terminal.command("level semi")
    await terminal.sees("level semi for the fleet", "type semi")
    await terminal.say("semi")
    terminal.keep("4-level")
    await terminal.press("Enter")
    await terminal.sees(r"fleet +semi +set by")
    terminal.keep("4-after")
    await terminal.press("H")
    await terminal.sees("HOLD: nothing new begins")
    await terminal.press("Enter")
    await terminal.sees("HOLD .*held")
    terminal.keep("4-hold")
    with terminal.aside():
        await terminal.press("H")
        await terminal.sees("type release")
        await terminal.say("release")
        await terminal.press("Enter")
        await terminal.command("level advise")
        await terminal.sees("level advise for the fleet")
        await terminal.press("Enter")
        await terminal.sees(r"fleet +advise +set by")


async def incident(terminal: Terminal, stage: Stage) -> None:
    """A host fails"""
    with terminal.aside():
        await terminal.press("2")
        await terminal.sees(rf"kv-\d\d .* {LOST} .*\d+(ms|s|m) ")
        terminal.keep("5-capsules")
        await terminal.press("1")
    await stage.order(kill=LOST)
    await terminal.sees(rf"x {LOST} +down")
    terminal.keep("5-down")
    ended = await _decided(terminal, "fails? over", "5", "")
    if ended != "SUCCEEDED":
        raise SidestepError(f"the plan ended {ended}")
    await terminal.press("5")
    await terminal.press("/")
    await terminal.say(LOST)
    await terminal.press("Enter")
    await terminal.sees(f"{LOST}: lost")
    terminal.keep("5-log")
    await stage.order(revive=LOST)
    await terminal.press("Escape", "1")
    await terminal.sees(rf"{LOST} +(quarantined|ok|hot|warming)")
    terminal.keep("5-return")
    with terminal.aside():  # that the shards which waited for it run again is seen there, too
        await terminal.press("2")
        await terminal.sees(r"\A(?![\s\S]* (failed|starting|degraded) )[\s\S]*shards by", r"kv-\d\d .*running")
        terminal.keep("5-shards")


async def split(terminal: Terminal, stage: Stage) -> None:
    """A hot shard"""
    await terminal.press("2")
    await terminal.sees("shards by cpu", r"kv-\d\d .*running")
    terminal.keep("6-shards")
    await terminal.press("Enter")
    await terminal.sees("why it is there", r"kv-\d\d (moves|stays)")
    terminal.keep("6-shard")
    await terminal.command("split")
    await terminal.sees(r"plan #\d+ PROPOSED", f"to {SPARE}", r"1 +pending +split")
    terminal.keep("6-plan")
    if not await _confirmed(terminal, "6-approve", "hot"):
        raise SidestepError("the split was not approved")
    ended = await _followed(terminal, "6-running", "6-after")
    if ended != "SUCCEEDED":
        raise SidestepError(f"the split ended {ended}")
    await terminal.press("2")
    await terminal.sees(rf"{SPARE} .*running")
    terminal.keep("6-both")


async def peak(terminal: Terminal, stage: Stage) -> None:
    """Prepare a known peak"""
    await terminal.command("event sale at +30m lasts 1h effect 1.5 app counter")
    await terminal.sees("demand times 1.5")
    terminal.keep("7-announce")
    await terminal.press("Enter", "3")
    await terminal.sees("event sale")
    terminal.keep("7-event")
    await terminal.press("i", "+")
    await terminal.sees("what if +load=.30%", "now .*, if .*, with the plan")
    await terminal.press("n")
    await terminal.sees("new-1", "now .*, if .*, with the plan")
    terminal.keep("7-what-if")
    await terminal.press("o")
    await terminal.sees("pool shop", r"i\d+ +cold")
    await terminal.press("d")
    await terminal.sees(r"(?m)^ : *drill shop")
    await terminal.press("Enter")
    await terminal.sees("fire drill of shop")
    terminal.keep("7-drill")
    await terminal.press("Enter")
    await terminal.sees("fire drill: ok, woke within")
    terminal.keep("7-pool")


async def explain(terminal: Terminal, stage: Stage) -> None:
    """Explain last night"""
    await terminal.press("5")
    await terminal.sees("╭─ log", r"\d\d:\d\d:\d\d ")
    await terminal.press("/")
    await terminal.say("kind=plan")
    await terminal.press("Enter")
    await terminal.sees("log.*kind=plan", "proposed")
    terminal.keep("8-log")


async def replay(terminal: Terminal, stage: Stage) -> None:
    """Explain last night: the recording, and what another policy would have done"""
    begins = await terminal.sees(r"REPLAY \d\d:\d\d:\d\d", "hosts by")
    await terminal.press("}")
    await terminal.sees(rf"REPLAY (?!{re.findall(r'REPLAY ([0-9:]+)', begins)[0]})", "plan #")
    terminal.keep("8-replay")
    await terminal.press("4")
    await terminal.sees("digest|no plan")
    terminal.keep("8-otherwise")


#: the workflows in the order in which one fleet is walked: number, title, and the walks of each with their name
WORKFLOWS: Final[dict[str, tuple[int, tuple[Walk, ...]]]] = {
    "glance": (1, (glance,)),
    "approve": (2, (approve,)),
    "drain": (3, (drain,)),
    "graduate": (4, (graduate,)),
    "split": (6, (split,)),
    "peak": (7, (peak,)),
    "incident": (5, (incident,)),
    "explain": (8, (explain, replay)),
}
