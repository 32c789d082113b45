"""The child process of ``sidestep analyze --args-from``: imports the user's module, runs one call, prints JSON.

Only ever a process of its own: what the module does when it is imported happens here, not in the console or daemon.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidestep.sharding.execute.contract import Network, ShardPolicy
from sidestep.sharding.score.choosing import chosen_plan


class _Called(BaseException):
    """The function was called by the test; carries the arguments."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__("called")
        self.given = args, kwargs


def module_of(path: Path) -> types.ModuleType:
    """Import a file as a module of its own name."""
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def function_of(module: types.ModuleType, name: str) -> Callable[..., Any]:
    """A function, or a method by ``Class.method``."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    if not isinstance(found, types.FunctionType):
        raise TypeError(f"{name} is no Python function")
    return found


def arguments_of(target: Path, name: str, case: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments: what a function returns, as (args, kwargs) or args; or the first call that a test makes."""
    file, _, test = case.partition("::")
    module = module_of(target)
    holder, _, leaf = name.rpartition(".")
    owner = function_holder(module, holder)
    original = getattr(owner, leaf)

    def stop(*args: Any, **kwargs: Any) -> None:
        raise _Called(args, kwargs)

    tests = module_of(Path(file).resolve())
    setattr(owner, leaf, stop)
    aliases = [n for n, v in vars(tests).items() if v is original]
    for alias in aliases:
        setattr(tests, alias, stop)
    try:
        given = getattr(tests, test)()
    except _Called as call:
        return call.given
    finally:
        setattr(owner, leaf, original)
        for alias in aliases:
            setattr(tests, alias, original)
    if (
        isinstance(given, tuple)
        and len(given) == 2
        and isinstance(given[1], dict)
        and isinstance(given[0], tuple | list)
    ):
        return tuple(given[0]), given[1]
    if isinstance(given, tuple | list):
        return tuple(given), {}
    raise TypeError(f"{test} neither calls {name} nor returns arguments")


def function_holder(module: types.ModuleType, name: str) -> Any:
    """The module, or a class of it."""
    return getattr(module, name) if name else module


def main(given: list[str]) -> int:
    """``FILE FUNCTION CASE HOSTS BYTES_PER_S``; prints one line of JSON."""
    path, name, case, hosts, link = given
    target = Path(path)
    args, kwargs = arguments_of(target, name, case)
    function = function_of(module_of(target), name)
    network = Network(bytes_per_s=float(link))
    plan = chosen_plan(
        function, args, kwargs, hosts=int(hosts), network=network, policy=ShardPolicy(), profile=True, force=False
    )
    why = next((r.text for r in plan.refusals if r.code == "no-gain"), "") or "; ".join(
        sorted({r.code for r in plan.refusals})
    )
    graph = plan.graph()
    print(json.dumps({
        "seconds": plan.found.seconds, "score": plan.score, "predicted": plan.found.speedup, "hosts": int(hosts),
        "blocks": list(plan.blocks), "why": why, "graph": graph.document() if graph else None,
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception as error:  # noqa: BLE001 - one line for whoever started us
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
