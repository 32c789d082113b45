"""``sidestep analyze``: the real program, on a file of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sidestep.sharding import commandline
from sidestep.sharding.schema import schema

_MODULE = """
from pathlib import Path

Path(__file__).with_name("imported").touch()


def double(xs):
    out = []
    for x in xs:
        out.append(x * 2)
    for x in xs:
        print(x)
    return out


class Scale:
    def __init__(self, k):
        self.k = k

    def all(self, xs):
        ys = [0] * len(xs)
        for i in range(len(xs)):
            ys[i] = xs[i] * self.k
        return ys


def case():
    return [[1, 2, 3]]


def test_scale():
    assert Scale(3).all([1, 2]) == [3, 6]
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(_MODULE)
    return path


def _json(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    assert commandline.main([*given, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(found["graph"], schema())
    return found


def test_a_function_is_analysed_without_importing_its_module(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S1.4, S2.2, S2.3: verdicts, contracts and refusals by code, line and text."""
    found = _json(capsys, f"{module}:double")
    loops = [b for b in found["graph"]["blocks"] if b["kind"] != "straight"]
    assert [b["kind"] for b in loops] == ["reduction", "refused"]
    assert loops[1]["refusals"][0]["code"] == "io"
    assert loops[1]["refusals"][0]["line"] == loops[1]["entry"] + 1
    assert {"from", "to", "name", "kind", "bytes"} == set(found["graph"]["edges"][0])
    assert not module.with_name("imported").exists()


def test_one_call_is_measured_in_a_child_process(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S1.8: a score from a real run; attributes of self are read as they are."""
    found = _json(capsys, f"{module}:Scale.all", "--args-from", f"{module}::test_scale", "--hosts", "2")
    assert module.with_name("imported").exists()
    assert "model" not in sys.modules
    assert found["measured"]["seconds"] >= 0
    assert found["score"] == 0
    assert "no-gain" not in {r["code"] for r in found["refusals"]}
    assert [b["kind"] for b in found["graph"]["blocks"]].count("doall") == 1


def test_the_picture_is_svg(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commandline.main([f"{module}:double", "--svg"]) == 0
    assert capsys.readouterr().out.startswith("<svg ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], "not FILE.py:FUNCTION"),
        (["nowhere.py:f"], "No such file"),
        (["{module}:missing"], "no function missing"),
        (["{module}:double", "--link", "fast"], "not a speed"),
        (["{module}:double", "--hosts", "0"], "not a number of hosts"),
        (["{module}:double", "--args-from", "{module}::nothing"], "nothing"),
    ],
)
def test_bad_input_is_named_with_its_remedy(
    module: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert commandline.main([g.format(module=module) for g in given]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "remedy:" in printed


def test_the_console_hands_over_to_the_program(module: Path) -> None:
    command = [sys.executable, "-m", "sidestep", "analyze", f"{module}:double"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "independent iterations, combined in order" in done.stdout
    assert "io at line" in done.stdout
