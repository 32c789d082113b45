"""``sidestep analyze``: what of a function can run as shards, why the rest cannot, and whether it would pay.

The module is read as text and never imported here. With ``--args-from`` a child process imports it and profiles one
real call; what that child says comes back as JSON.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub
from sidestep.sharding.analysis.attributes import hoisted
from sidestep.sharding.analysis.function import analysed
from sidestep.sharding.analysis.graph import graph_of
from sidestep.sharding.analysis.source import Source, read
from sidestep.sharding.drawing import svg
from sidestep.sharding.loops.classify import classify_all

_UNITS: Final = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_PROFILE_S: Final = 600


def main(given: list[str] | None = None) -> int:
    """Run the command; prints errors with their remedy and returns 2 for bad input."""
    try:
        return _run(_parser().parse_args(given))
    except SidestepError as error:
        print(f"sidestep analyze: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sidestep analyze", description="What of a function can run as shards.")
    parser.add_argument("target", metavar="FILE.py:FUNCTION", help="a function, or Class.method, of a file")
    parser.add_argument("--args-from", metavar="FILE.py::CASE", default="",
                        help="a test, or a function that returns arguments: run to measure")  # fmt: skip
    parser.add_argument("--hosts", type=int, default=8, help="hosts to score for (default 8)")
    parser.add_argument("--link", default="1G", help="bits a second between hosts, such as 100M or 10G (default 1G)")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON (sharding/graph.schema.json)")
    shape.add_argument("--svg", action="store_true", help="print a picture of blocks and edges")
    return parser


def _run(options: argparse.Namespace) -> int:
    path, name = _target(options.target)
    if options.hosts < 1:
        raise UsageError(f"--hosts {options.hosts}: not a number of hosts", hint="give 1 or more")
    link = _bits(options.link)
    source = _read(path)
    node = source.functions.get(name)
    if node is None:
        known = ", ".join(sorted(source.functions)[:8]) or "none"
        raise UsageError(f"{path}: no function {name}", hint=f"it has: {known}")
    document: dict[str, Any] = {"file": str(scrub(str(path))), "function": name, "score": None, "measured": None}
    if isinstance(node, ast.AsyncFunctionDef):
        document |= {"graph": None, "refusals": [{"code": "async", "line": node.lineno, "text": name}]}
    else:
        context = analysed(source, hoisted(node).node)
        graph = graph_of(context, classify_all(context))
        document |= {"graph": graph.document(), "refusals": _refusals(graph.document())}
    if options.args_from:
        document["measured"] = _measured(path, name, options, link)
        document["score"] = document["measured"].get("score")
        if document["measured"].get("graph"):
            document["graph"] = document["measured"].pop("graph")
            document["refusals"] = _refusals(document["graph"])
    if options.json:
        print(json.dumps(document, indent=2))
    elif options.svg:
        print(svg(document["graph"]) if document["graph"] else svg({"function": name, "blocks": [], "edges": []}))
    else:
        _print(document)
    return 0


def _target(said: str) -> tuple[Path, str]:
    file, colon, name = said.rpartition(":")
    if not colon or not file or not name:
        raise UsageError(f"{said}: not FILE.py:FUNCTION", hint="such as model.py:train or model.py:Model.fit")
    return Path(file.removesuffix(":")), name


def _bits(said: str) -> float:
    """Bytes a second of a link."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)(?:bit/s)?", said)
    if match is None or not float(match[1]):
        raise UsageError(f"--link {said}: not a speed", hint="bits a second, such as 100M or 10G")
    return float(match[1]) * _UNITS[match[2]] / 8


def _read(path: Path) -> Source:
    try:
        return read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a Python file") from error
    except SyntaxError as error:
        raise UsageError(
            f"{path}:{error.lineno}: {error.msg}", hint="it has to be Python that this version reads"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}", hint="it has to be Python text in UTF-8") from error


def _refusals(graph: dict[str, Any]) -> list[dict[str, Any]]:
    found = [why for block in graph["blocks"] if block["kind"] != "straight" for why in block["refusals"]]
    return [dict(t) for t in dict.fromkeys(tuple(sorted(why.items())) for why in found)]


def _measured(path: Path, name: str, options: argparse.Namespace, link: float) -> dict[str, Any]:
    """What a child process found by running the function."""
    command = [
        sys.executable, "-m", "sidestep.sharding.profiled", str(path.resolve()), name, options.args_from,
        str(options.hosts), str(link),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROFILE_S, check=False)
    except subprocess.TimeoutExpired as error:
        hint = "use smaller arguments"
        raise SidestepError(f"{options.args_from}: no answer within {_PROFILE_S} s", hint=hint) from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode or not lines:
        tail = done.stderr.decode("utf-8", "replace").strip().splitlines()
        hint = "a test without fixtures that calls the function, or a function that returns (args, kwargs)"
        raise UsageError(f"{options.args_from}: {tail[-1] if tail else 'the profile failed'}", hint=hint)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _print(document: dict[str, Any]) -> None:
    print(f"{document['file']}:{document['function']}")
    graph = document["graph"]
    for block in graph["blocks"] if graph else ():
        if block["kind"] == "straight":
            continue
        indent = "    " if block["parent"] else "  "
        print(f"{indent}lines {block['entry']}-{block['exit']}: {_VERDICTS[block['kind']]}")
        for r in block["reductions"]:
            print(f"{indent}  combines {r['name']} ({r['operation']})")
        for guard in block["guards"]:
            print(f"{indent}  if, at its start: {guard}")
        for why in block["refusals"]:
            print(f"{indent}  {why['code']} at line {why['line']}: {scrub(why['text'])}")
    measured = document["measured"]
    if measured is None:
        print("  no score: give --args-from to measure one call")
        return
    print(f"  measured {measured['seconds']:.2f} s; shardability {measured['score']:.2f}, "
          f"predicted {measured['predicted']:.2f}× on {measured['hosts']} hosts")  # fmt: skip
    print(f"  would shard: {', '.join(measured['blocks']) or 'nothing: ' + measured['why']}")


_VERDICTS: Final = {
    "doall": "independent iterations", "reduction": "independent iterations, combined in order",
    "sequential": "sequential", "refused": "refused",
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
