"""``python -m scripts.fuzz [--seconds N] [TARGET ...]``: fuzz targets one after another with atheris.

Every target runs in a process of its own for so many seconds. What broke a promise, hung or
grew is kept in the folder of crashes; then the status is 1. To see one again:
``python -m scripts.fuzz TARGET --input FILE``.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.fuzz import TARGETS

#: seconds that one input may take, and MiB that a target may hold
SLOWEST = 10
LARGEST = 2048
LONGEST_INPUT = 1 << 16


def main() -> int:
    """Fuzz, or run one input."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without")
    parser.add_argument("--seconds", type=int, default=30, help="for every target (default 30)")
    parser.add_argument("--crashes", type=Path, default=Path("fuzz-crashes"), help="folder for inputs that fail")
    parser.add_argument("--input", type=Path, help="run the only target over this file, without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if not set(targets) <= set(TARGETS):
        parser.error(f"targets are {', '.join(TARGETS)}")
    if options.input is not None:
        importlib.import_module(f"scripts.fuzz.{targets[0]}").run(options.input.read_bytes())
        return 0
    if options.child:
        return _fuzz(targets[0], options.seconds, options.crashes)
    failed = [target for target in targets if not _supervised(target, options.seconds, options.crashes)]
    print(f"fuzz: {', '.join(failed)} failed; see {options.crashes}" if failed else "fuzz: nothing found", flush=True)
    return 1 if failed else 0


def _supervised(target: str, seconds: int, crashes: Path) -> bool:
    """Fuzz in a child; whether it found nothing."""
    folder = crashes / target
    folder.mkdir(parents=True, exist_ok=True)
    print(f"fuzz: {target} for {seconds} s", flush=True)
    command = [sys.executable, "-m", "scripts.fuzz", target, "--child", f"--seconds={seconds}", f"--crashes={folder}"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=4 * seconds + 120)
        status, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        status, said = -1, f"did not end: {late}"
    runs = [line for line in said.splitlines() if line.startswith(("Done ", "stat::number_of_executed_units"))]
    print(f"fuzz: {target}: {runs[-1] if runs else 'no end of its own'}", flush=True)
    if status != 0:
        (folder / "log.txt").write_text(said, encoding="utf-8")
        print(said[-4000:], flush=True)
    elif not any(folder.iterdir()):
        folder.rmdir()
    return status == 0


def _fuzz(target: str, seconds: int, crashes: Path) -> int:
    """Fuzz in this process; does not return when something was found."""
    import atheris  # noqa: PLC0415 - only this child needs it

    with atheris.instrument_imports(include=_parts(target)):
        module = importlib.import_module(f"scripts.fuzz.{target}")
    with tempfile.TemporaryDirectory(prefix="sidestep-fuzz-") as corpus:
        for number, seed in enumerate(module.seeds()):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        options = [
            f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/", f"-timeout={SLOWEST}",
            f"-rss_limit_mb={LARGEST}", f"-max_len={LONGEST_INPUT}", "-print_final_stats=1", "-close_fd_mask=0",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *options, corpus], module.run)
        atheris.Fuzz()
    return 0


def _parts(target: str) -> list[str]:
    """The module's ``PARTS``, read without importing it: what is imported before is not instrumented."""
    import ast  # noqa: PLC0415

    text = Path(__file__).with_name(f"{target}.py").read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "PARTS":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"target {target} names no PARTS")


if __name__ == "__main__":
    sys.exit(main())
