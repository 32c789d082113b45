"""The page of metrics, read from the code that makes them: name, kind, labels, meaning."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
#: what makes a family, its kind, and what the name of its series ends with
KINDS = {
    "CounterMetricFamily": ("counter", "_total"),
    "GaugeMetricFamily": ("gauge", ""),
    "HistogramMetricFamily": ("histogram", ""),
    "InfoMetricFamily": ("info", "_info"),
    "StateSetMetricFamily": ("state set", ""),
    "_gauge": ("gauge", ""),
    "_counted": ("gauge", ""),
}
_INTRO = """\
# Metrics

Made from the code. How they are served, and which matter: [Operating the daemon](operation.md#metrics). Beside these
there are `process_*` and `python_info`, as Prometheus names them.

| name | kind | labels | meaning |
|---|---|---|---|
"""


class Family(NamedTuple):
    """One family of series."""

    name: str
    kind: str
    labels: tuple[str, ...]
    says: str


def families() -> list[Family]:
    """All that the daemon makes, by name. Raises TypeError for one whose name or meaning cannot be read."""
    found = {}
    for path in sorted((ROOT / "autopilot").rglob("metrics*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name not in KINDS:
                found.update({each.name: each for each in _families(function, path)})
    return sorted(found.values())


def _families(function: ast.FunctionDef, path: Path) -> Iterator[Family]:
    for call in sorted((n for n in ast.walk(function) if isinstance(n, ast.Call)), key=lambda each: each.lineno):
        if not isinstance(call.func, ast.Name) or call.func.id not in KINDS:
            continue
        kind, ending = KINDS[call.func.id]
        name, meaning = call.args[0], call.args[1]
        said = meaning.value if isinstance(meaning, ast.Constant) else _last(function, meaning, call.lineno)
        if not isinstance(name, ast.Constant) or not isinstance(said, str) or not isinstance(name.value, str):
            raise TypeError(f"{path.name}:{call.lineno}: a family whose name and meaning are not words")
        labels = [each.value for each in call.keywords if each.arg == "labels"]
        named: tuple[str, ...] = tuple(ast.literal_eval(labels[0])) if labels else ()
        if call.func.id == "_counted":
            named = ("state",)
        yield Family(f"{name.value}{ending}", kind, named, said)


def _last(function: ast.FunctionDef, name: ast.expr, line: int) -> object:
    """What a variable was set to last before that line."""
    found: object = None
    for each in ast.walk(function):
        if isinstance(each, ast.Assign) and each.lineno < line and isinstance(each.value, ast.Constant):
            for target in each.targets:
                if isinstance(target, ast.Name) and isinstance(name, ast.Name) and target.id == name.id:
                    found = each.value.value
    return found


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.says} |"
        for each in families()
    ]
    return _INTRO + "\n".join(rows) + "\n"
