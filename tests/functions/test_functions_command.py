"""``sidestep run`` before it reaches a host, the library's marks, and what is reported of a call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sidestep
from sidestep.autopilot.functions import demo
from sidestep.autopilot.functions.__main__ import literals, main
from sidestep.autopilot.functions.calling import call_in, call_of, value_of
from sidestep.autopilot.functions.reporting import report_of
from sidestep.backends.functions.blocks import DONE, Outcome
from sidestep.backends.functions.job import Finished
from sidestep.backends.functions.loading import undecorated
from sidestep.fleet.errors import UsageError
from sidestep.fleet.invocations import parse_report
from sidestep.sharding import codec


@sidestep.function
def tripled(x: float) -> float:
    """A function that is marked."""
    return x * 3


def test_arguments_are_literals_or_text() -> None:
    """Places first, names after; what is no literal is text."""
    assert literals(["1", "[2, 'a']", "plain", "n=3", "s=x y"]) == ([1, [2, "a"], "plain"], {"n": 3, "s": "x y"})
    with pytest.raises(UsageError, match="comes after n="):
        literals(["n=1", "2"])


@pytest.mark.parametrize("named", ["nothing", "missing.py:f", "x.py:not a name"])
def test_bad_input_is_said_in_one_message(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a remedy, before any host is asked."""
    assert main([named]) == 2
    said = capsys.readouterr().err
    assert named.partition(":")[0] in said and "remedy" in said


def test_a_marked_function_is_the_plain_one_until_it_is_submitted() -> None:
    """The mark changes nothing here; only functions of modules in files can travel."""
    assert tripled(0.1) == 0.1 * 3
    call = call_of(tripled, (0.1,), {})
    assert call.function == "tripled" and call.features == (("x", 0.1),)
    for other in (lambda: 1, "text".upper, type("Local", (), {"f": lambda self: 1})().f):
        with pytest.raises(UsageError, match="cannot run on hosts"):
            call_of(other, (), {})


def test_marks_are_taken_off_where_the_source_runs() -> None:
    """However it was imported, and no line moves."""
    text = (
        "import sidestep as s\nfrom sidestep import function as mark\n@s.function\ndef a(): ...\n@mark\ndef b(): ...\n"
    )
    plain = undecorated(text)
    assert "@" not in plain and plain.splitlines()[3:6:2] == ["def a(): ...", "def b(): ..."]
    assert undecorated("@other\ndef a(): ...\n").startswith("@other")


def test_importing_sidestep_imports_nothing_heavy() -> None:
    """A module that only decorates costs no SSH, no arrays and no Dask."""
    code = (
        "import sys, sidestep\n@sidestep.function\ndef f(): return 1\nassert f() == 1\n"
        "print([m for m in ('numpy', 'asyncssh', 'distributed', 'msgspec', 'cryptography') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_a_call_is_reported_for_its_function(tmp_path: Path) -> None:
    """S1.2, S1.3, S1.5: features of the input, processor time, memory, bytes and wall time, in the daemon's format."""
    file = tmp_path / "work.py"
    file.write_text("def f(n): return n")
    call = call_in(file, "f", (7,), {})
    outcome = Outcome(
        block="b1", token=1, kind=DONE, value=codec.dumps(7), cpu_s=0.5, wall_s=0.6, max_rss=1 << 20, shard_bytes=100
    )
    finished = Finished(outcome=outcome, host="web1", seconds=1.0)
    assert value_of(finished) == 7
    line = report_of(call, finished, 1000.0).encode()
    read = parse_report(line, "report", 1, now=1000.0)
    assert (read.app, read.shard, read.wall_s, read.cpu_s, read.max_rss) == ("work:f", "web1", 0.6, 0.5, 1 << 20)
    assert read.net_bytes == len(call.args) + len(outcome.value) + 100
    assert read.x == (("arg0", 7.0),)


async def test_the_demonstration_claims_nothing_that_is_not_so(capsys: pytest.CaptureFixture[str]) -> None:
    """S2.23, S2.28, S5.10: a move, the kill of a host, and shards, each result held against the plain call."""
    story = demo.Story(aloud=True)
    await demo.tell(story, 3.0)
    told = capsys.readouterr().out
    # How much was lost is a matter of time, and not of this test.
    assert [line for line in story.lines if not line.holds and "the loss cost" not in line.words] == []
    for words in ("moved from", "was killed", "it goes on on", "bit for bit as here", "the same list"):
        assert words in told
