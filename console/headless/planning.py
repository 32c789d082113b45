"""What is asked of the planner without a screen: plans on demand, why and why not, hosts for new work."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Final

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_plans import (
    AskWhy,
    AskWhyNot,
    CancelPlanning,
    ComparePlans,
    DifferenceView,
    FindHost,
    GetPlanning,
    GetRightSizes,
    HostView,
    ListPolicies,
    NewPlan,
    Planning,
    SizesView,
    WhyNotView,
    WhyView,
)
from sidestep.console.headless import output
from sidestep.console.headless.patience import patiently
from sidestep.console.planningtext import (
    answer_lines,
    bar,
    best_host_lines,
    difference_lines,
    policy_lines,
    size_lines,
    why_lines,
    why_not_lines,
)
from sidestep.console.text import ASCII
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.questions import PlanAnswer, PolicyList
from sidestep.fleet.resources import parse_seconds, parse_size

#: there is no plan, no host, no way: an answer with reasons, and no failure
NOTHING: Final = 3
_WIDTH: Final = 100
#: seconds between two looks at a job, and until a progress bar is worth drawing
_LOOK: Final = 0.25
_PATIENCE: Final = 0.5
_MAX_FILE: Final = 1 << 18


def schema(name: str) -> None:
    """Print a published JSON Schema."""
    from sidestep import fleet  # noqa: PLC0415

    print((Path(fleet.__file__).with_name(f"{name}.schema.json")).read_text(encoding="utf-8"), end="")


def new_plan(policy: str, what_if: tuple[str, ...], limit: str, *, compare: bool) -> NewPlan:
    """What is asked for. Raises UsageError for a time or a file that cannot be used."""
    seconds = _seconds("--time-limit", limit) if limit else 0.0
    text = ""
    if policy.endswith(".toml") or "/" in policy:
        text = _read(Path(policy))
    return NewPlan(policy=policy, policy_text=text, what_if=what_if, time_limit=seconds, compare=compare)


def _seconds(option: str, text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}", hint=f"for example {option} 30s") from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(
            f"--policy {path}: {error.strerror}", hint="name a TOML file, or see: sidestep policies"
        ) from error
    if len(data) > _MAX_FILE:
        raise UsageError(f"--policy {path}: more than {_MAX_FILE} bytes", hint="a policy is a small TOML file")
    try:
        return data.decode("utf-8") or "\n"
    except UnicodeDecodeError as error:
        raise UsageError(f"--policy {path}: byte {error.start} is no UTF-8", hint="write the file as UTF-8") from error


def new(socket: Path, asked: NewPlan, *, as_json: bool) -> int:
    """Have a plan made and print it; the exit code. Interrupted, the best plan so far is the answer."""
    begun: list[Planning] = []
    try:
        with Client.connect(socket) as client:
            job = patiently(client, asked)
            assert isinstance(job, Planning)
            begun.append(job)
            job = _follow(client, job, asked.time_limit, quiet=as_json)
    except KeyboardInterrupt:
        if not begun:
            raise
        with Client.connect(socket) as client:  # the other connection may have been left within a frame
            client.call(CancelPlanning(begun[0].job))
            job = _follow(client, begun[0], asked.time_limit, quiet=True)
    if job.answer is None:
        raise SidestepError(f"no answer: {job.text or job.state}", hint=str(job.hint) or "the daemon's log has more")
    _print(job.answer, as_json=as_json)
    return 0 if job.answer.plan is not None else NOTHING


def _follow(client: Client, job: Planning, limit: float, *, quiet: bool) -> Planning:
    """The job when it has ended, with a bar on a terminal's standard error while it takes long."""
    shown = not quiet and sys.stderr.isatty()
    drawn = 0
    while job.state in {"queued", "running"}:
        looked = client.call(GetPlanning(job.job, _LOOK if shown else 10.0))
        assert isinstance(looked, Planning)
        job = looked
        if shown and job.elapsed > _PATIENCE and job.state in {"queued", "running"}:
            text = bar(job, limit)
            print("\r" + text.ljust(drawn), end="", file=sys.stderr, flush=True)
            drawn = len(text)
    if drawn:
        print("\r" + " " * drawn + "\r", end="", file=sys.stderr, flush=True)
    return job


def _print(answer: PlanAnswer, *, as_json: bool) -> None:
    if as_json:
        output.dump(answer)
    else:
        output.lines(answer_lines(answer, time.time(), _WIDTH, ASCII))


def diff(socket: Path, old: str, new_: str, *, as_json: bool) -> None:
    """Two plans side by side."""
    with Client.connect(socket) as client:
        answer = client.call(ComparePlans(old, new_))
    assert isinstance(answer, DifferenceView)
    if as_json:
        output.dump(answer.difference)
    else:
        output.lines(difference_lines(answer.difference, _WIDTH, ASCII))


def why(socket: Path, shard: str, *, as_json: bool) -> None:
    """Why a shard moves, or why not."""
    _needed("SHARD", shard)
    with Client.connect(socket) as client:
        answer = client.call(AskWhy(shard))
    assert isinstance(answer, WhyView)
    if as_json:
        output.dump(answer.why)
    else:
        output.lines(why_lines(answer.why, _WIDTH, ASCII))


def why_not(socket: Path, shard: str, host: str, *, as_json: bool) -> None:
    """Why a shard does not go to a host."""
    _needed("SHARD", shard)
    _needed("HOST", host)
    with Client.connect(socket) as client:
        answer = client.call(AskWhyNot(shard, host))
    assert isinstance(answer, WhyNotView)
    if as_json:
        output.dump(answer.why_not)
    else:
        output.lines(why_not_lines(answer.why_not, _WIDTH))


def find_host(cpu: float, memory: str, app: str, near: str, limit: int) -> FindHost:
    """What is asked for. Raises UsageError for a size that is none, or for nothing."""
    try:
        size = parse_size(memory)
    except ValueError as error:
        raise UsageError(f"--memory {memory}: {error}", hint="for example --memory 4G") from error
    if not math.isfinite(cpu) or (cpu <= 0 and size <= 0):
        raise UsageError("nothing is asked for", hint="say what the work needs: --cpu 2 --memory 4G")
    return FindHost(cpu=cpu, memory=size, app=app, near=near, limit=limit)


def best_host(socket: Path, asked: FindHost, *, as_json: bool) -> int:
    """Hosts for new work, the best first; the exit code."""
    with Client.connect(socket) as client:
        answer = client.call(asked)
    assert isinstance(answer, HostView)
    if as_json:
        output.dump(answer.best)
    else:
        output.lines(best_host_lines(answer.best, _WIDTH))
    return 0 if answer.best.offers else NOTHING


def right_size(socket: Path, limit: int, *, as_json: bool) -> None:
    """Shards that are given too much or too little."""
    with Client.connect(socket) as client:
        answer = client.call(GetRightSizes(limit))
    assert isinstance(answer, SizesView)
    if as_json:
        output.dump(answer.sizes)
    else:
        output.lines(size_lines(answer.sizes, _WIDTH))


def policies(socket: Path, *, as_json: bool) -> None:
    """The policies that can be named."""
    with Client.connect(socket) as client:
        answer = client.call(ListPolicies())
    assert isinstance(answer, PolicyList)
    if as_json:
        output.dump(answer.policies)
    else:
        output.lines(policy_lines(answer, _WIDTH))


def _needed(name: str, value: str) -> None:
    if not value:
        raise UsageError(f"{name} is missing", hint="see --help")
