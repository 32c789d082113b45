"""Functions that stop at a loop head and go on in a fresh program: the result is the same, bit for bit."""

import copy
import itertools
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable_cases import CASES

from sidestep.sharding.codec import Sets, loads, pack, same, unpack
from sidestep.sharding.resume import Program, Suspended, suspender

NEVER = {"a generator between the calls"}


def hops(source: str, args: tuple[Any, ...], step: int, most: int = 40) -> tuple[Any, int]:
    """Run main, stopping at each ``step``-th head and going on in a fresh program; the result, and how often."""
    program, captured, count = Program(source), None, 0
    while True:
        asks = suspender(program, share=1e9)
        try:
            if count < most:
                asks.request(skip=step)
            mine = copy.deepcopy(args)
            return (program.run("main", *mine) if captured is None else program.resume(captured)), count
        except Suspended as stopped:
            captured, count = unpack(pack(stopped.captured)), count + 1
            program = Program(source)
        finally:
            asks.close()


@pytest.mark.parametrize("name", CASES)
def test_a_function_goes_on_in_a_fresh_program_as_if_nothing_had_been(name: str) -> None:
    """S2.13, S5.10, S5.11"""
    source, args = CASES[name]
    plain: dict[str, Any] = {}
    exec(source, plain)
    expected = plain["main"](*copy.deepcopy(args))
    for step in (2, 7):
        result, count = hops(source, args, step)
        assert same(result, expected)
        assert (count == 0) == (name in NEVER)


LINES = st.sampled_from(
    ["a += i", "b.append(a)", "a = a * 3 % 101", "c[i % 3] = a", "b[-1:] = [i, a]", "d = b", "b = b + [i]",
     "d.append(i)", "if a % 2: continue", "if a > 60: break", "a = g(a % 5, b)", "return a, b, c, d"]
)  # fmt: skip


OVER = st.sampled_from(
    ["range(a % 4)", "list(b[:3])", "c", "range(i - 1, i + 2)", "range(i, 9, 3)", "range(e, f)", "range(f, -e, -3)",
     "range(f - e)", "range(i - f, e + i, f)"]
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Random nests of loops over the same few variables."""
    names = itertools.count()

    def body(depth: int, indent: str) -> list[str]:
        lines = []
        for _ in range(draw(st.integers(1, 3))):
            if depth and draw(st.booleans()):
                name = f"w{next(names)}"
                if draw(st.booleans()):
                    lines.append(f"{indent}for {draw(st.sampled_from(['i', name]))} in {draw(OVER)}:")
                    lines += body(depth - 1, indent + "  ")
                else:
                    lines += [f"{indent}{name} = 0", f"{indent}while {name} < 2:", f"{indent}  {name} += 1"]
                    lines += body(depth - 1, indent + "  ")
                if draw(st.booleans()):
                    lines += [f"{indent}else:", f"{indent}  b.append(-1)"]
            else:
                lines.append(
                    indent + draw(LINES if depth < 3 else LINES.filter(lambda one: one[:2] not in {"if", "re"}))
                )
        return lines

    return "\n".join([
        "def g(n, b):", "  t = n", "  for k in range(n):", "    t += k", "    b.append(t)", "  return t",
        "def main(i):", "  a, b, c, d, e, f = 1, [1], {0: 1, 1: 2, 2: 3}, [], 2, 5", *body(3, "  "),
        "  return a, b, c, d",
    ])  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(programs(), st.integers(1, 5))
def test_random_programs_stop_and_go_on_as_if_nothing_had_been(source: str, step: int) -> None:
    """S5.11"""
    plain: dict[str, Any] = {}
    exec(source, plain)
    try:
        expected = plain["main"](5)
    except RuntimeError as error:
        with pytest.raises(RuntimeError, match=str(error)):
            hops(source, (5,), step, 8)
        return
    assert same(hops(source, (5,), step, 5)[0], expected)


def test_what_cannot_be_resumed_is_refused_by_code_and_line() -> None:
    """S1.10"""
    refused = Program("""
def a():
    yield 1
def b():
    global x
    x = 1
class C:
    def m(self):
        for i in range(3): pass
def d():
    return eval("1")
def e(): pass
def e(): pass
async def f(): pass
""").source.refused
    assert {name: (why.code, why.line) for name, why in refused.items()} == {
        "a": ("generator", 3), "b": ("global", 5), "C": ("class", 7), "C.m": ("method", 8), "d": ("dynamic", 11),
        "e": ("rebound", 13), "f": ("async", 14),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "inside", "code"),
    [
        ("", "s = set('abc'); s.discard('a')", "set-order"),
        ("", "s = open", "type"),
        ("import pytest", "s = pytest", "foreign"),
        ("def g(): pass", "s = 1; g.calls = 2", "attribute-store"),
        ("class G: held = []", "s = G.held", "class-state"),
    ],
)
def test_a_state_that_would_not_come_back_is_never_captured(before: str, inside: str, code: str) -> None:
    """R-set, and state outside the frames."""
    program = Program(
        f"{before}\ndef main(n):\n    {inside}\n    for i in range(n):\n        n = n\n    return i, s is s"
    )
    asks = suspender(program)
    try:
        asks.request(skip=1)
        assert program.run("main", 5) == (4, True)
        assert asks.refused is not None and asks.refused[0] == code
    finally:
        asks.close()


def test_a_capture_can_be_taken_while_the_program_goes_on() -> None:
    """S2.11, S2.29: pre-copy."""
    source, args = CASES["aliases of arrays and lists, and closures that are dead"]
    program, kept = Program(source), []
    asks = suspender(program)
    asks.request(kept.append, skip=4)
    try:
        expected = program.run("main", *args)
    finally:
        asks.close()
    assert same(Program(source).resume(kept[0]), expected)


def test_a_capture_of_a_few_variables_has_these_only() -> None:
    """S5.11, S5.12: what is dead is not in it."""
    source = "def main(n):\n big = list(range(9000))\n t = len(big)\n for i in range(n):\n  t += i\n return t"
    program, kept = Program(source), []
    asks = suspender(program)
    asks.request(kept.append, skip=2)
    try:
        program.run("main", 9)
    finally:
        asks.close()
    frames, around = loads(pack(kept[0]))  # type: ignore[misc]
    assert set(frames[0][2]) == {"t", "_ss_it_1"} and around == {}
    assert kept[0].nbytes < 200


def test_a_capture_goes_on_in_a_process_with_other_hashes() -> None:
    """S2.26"""
    source = "def main(n):\n d = {str(i): i for i in range(n)}\n for k, v in d.items():\n  d[k] = v * 2\n return d"
    program = Program(source)
    asks = suspender(program)
    asks.request(skip=5)
    try:
        with pytest.raises(Suspended) as stopped:
            program.run("main", 20)
    finally:
        asks.close()
    script = (
        "import sys; from sidestep.sharding.codec import dumps, unpack; from sidestep.sharding.resume import Program\n"
        "sys.stdout.write(dumps(Program(sys.argv[1]).resume(unpack(bytes.fromhex(sys.argv[2])))).hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, source, pack(stopped.value.captured).hex()],
        env={**os.environ, "PYTHONHASHSEED": "5"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert same(loads(bytes.fromhex(done.stdout)), {str(i): i * 2 for i in range(20)})


def test_sets_whose_order_nobody_asks_may_be_captured_by_their_contents() -> None:
    source = "def main(n):\n    s = set('abc')\n    for i in range(n):\n        s.add(str(i))\n    return sorted(s)"
    program = Program(source, sets=Sets.CONTENTS)
    asks = suspender(program)
    asks.request(skip=2)
    try:
        with pytest.raises(Suspended) as stopped:
            program.run("main", 5)
    finally:
        asks.close()
    assert Program(source).resume(stopped.value.captured) == sorted("abc01234")
