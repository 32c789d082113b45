"""The command line of the test fleet. Exit codes: 2 for what cannot be meant, 1 for what went wrong."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from scripts.testfleet.fleet import Fleet
from scripts.testfleet.plan import DEFAULT, INTERPRETERS, LAYOUTS, HostPlan, cores, fleet_name, plan, size
from scripts.testfleet.run import run
from sidestep.fleet.errors import SidestepError, UsageError

_HOSTS = "NAME[:key=value,...] with layout=, interpreter=, cpu=, memory=; none is " + " ".join(DEFAULT)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise instead of ending the process."""
        raise UsageError(f"{self.prog}: {message}", hint=f"{self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say and return the exit code."""
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        command: list[str] = []
        if "--" in given:
            at = given.index("--")
            given, command = given[:at], given[at + 1 :]
        return _do(_parser().parse_args(given), command)
    except SidestepError as error:
        print(f"testfleet: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="testfleet", description="Real systemd hosts in namespaces of this machine, for tests.")
    parser.add_argument(
        "--fleet",
        help="which of several fleets (default: for `run` one of its own, else $SIDESTEP_TESTFLEET, or 'default')",
    )
    words = parser.add_subparsers(dest="word", required=True, metavar="COMMAND", parser_class=_Parser)
    for word, text in (("up", "boot a fleet"), ("run", "boot a fleet for `-- COMMAND`, run it there, remove all")):
        one = words.add_parser(word, help=text)
        one.add_argument("hosts", nargs="*", metavar="HOST", help=_HOSTS)
        one.add_argument("-n", type=int, help="that many hosts h1, h2, ... instead of HOST")
        one.add_argument("--layout", choices=LAYOUTS, help="cgroup layout of hosts that name none")
        one.add_argument("--interpreter", choices=INTERPRETERS, help="the best interpreter that they have")
        one.add_argument("--cpu", help="cores, such as 0.5")
        one.add_argument("--memory", help="such as 512M")
    words.add_parser("down", help="remove the fleet and whatever is left of an earlier one")
    words.add_parser("status", help="the hosts and their state")
    words.add_parser("env", help="shell variables to reach the hosts with")
    words.add_parser("within", help="run `-- COMMAND` where the hosts can be reached")
    for word, text in (
        ("start", "switch a host on"),
        ("stop", "shut a host down in good order"),
        ("kill", "pull the plug: power loss"),
        ("freeze", "hang a host"),
        ("thaw", "let it go on"),
        ("cut", "pull its network cable"),
        ("heal", "put it back"),
    ):
        words.add_parser(word, help=text).add_argument("host")
    limit = words.add_parser("limit", help="change what a host may use; 0 is no limit")
    limit.add_argument("host")
    limit.add_argument("--cpu")
    limit.add_argument("--memory")
    words.add_parser("exec", help="run `-- COMMAND` in a host as root, without SSH").add_argument("host")
    words.add_parser("ssh", help="connect to a host, or run `-- COMMAND` there").add_argument("host")
    return parser


def _do(args: argparse.Namespace, command: list[str]) -> int:
    usual = f"run-{os.getpid()}" if args.word == "run" else os.environ.get("SIDESTEP_TESTFLEET") or "default"
    fleet = Fleet(fleet_name(args.fleet or usual))
    if args.word in {"run", "within", "exec"} and not command:
        raise UsageError(f"{args.word}: the command is missing", hint=f"testfleet {args.word} ... -- COMMAND")
    if command and args.word not in {"run", "within", "exec", "ssh"}:
        raise UsageError(f"{args.word}: takes no command")
    match args.word:
        case "up":
            fleet.up(_plans(args))
            _status(fleet)
        case "run":
            return run(fleet, _plans(args), command)
        case "down":
            fleet.down()
        case "status":
            _status(fleet)
        case "env":
            _env(fleet)
        case "limit":
            _limit(fleet, args)
        case "within":
            fleet.state()
            os.environ["SIDESTEP_TESTFLEET"] = fleet.name
            _become(fleet.within(command))
        case "exec":
            _become(fleet.command(args.host, command))
        case "ssh":
            fleet.plan(args.host)
            _become(fleet.within(["ssh", "-F", str(fleet.places.ssh_config), args.host, *command]))
        case word:
            getattr(fleet, word)(args.host)
    return 0


def _plans(args: argparse.Namespace) -> tuple[HostPlan, ...]:
    if args.n is not None and (args.hosts or args.n < 1):
        raise UsageError(f"-n {args.n}: give a number of hosts or their names")
    names = [f"h{i}" for i in range(1, args.n + 1)] if args.n is not None else args.hosts
    common = {key: getattr(args, key) for key in ("layout", "interpreter", "cpu", "memory")}
    return plan(names or DEFAULT, [f"{key}={value}" for key, value in common.items() if value is not None])


def _limit(fleet: Fleet, args: argparse.Namespace) -> None:
    if args.cpu is None and args.memory is None:
        raise UsageError("limit: give --cpu or --memory")
    cpu = None if args.cpu is None else 0.0 if args.cpu == "0" else cores(args.cpu)
    memory = None if args.memory is None else 0 if args.memory == "0" else size(args.memory)
    fleet.limit(args.host, cpu=cpu, memory=memory)


def _status(fleet: Fleet) -> None:
    state = fleet.state()
    print(f"{'host':12} {'address':14} {'layout':8} {'best':7} {'state':12} {'limits':16} {'cpu used':>9}")
    for name, host in state.hosts.items():
        on = fleet.is_on(name)
        words = ["on" if on else "off"]
        if on:
            words += ["frozen"] if fleet.groups.frozen(name) else []
            words += ["cut"] if fleet.is_cut(name) else []
        limits = f"{host.plan.cpu or '-'} / {f'{host.plan.memory >> 20}M' if host.plan.memory else '-'}"
        used = f"{fleet.groups.cpu_seconds(name):.1f} s" if on else "-"
        plan_ = host.plan
        print(
            f"{name:12} {plan_.address:14} {plan_.layout:8} {plan_.interpreter:7}"
            f" {'+'.join(words):12} {limits:16} {used:>9}"
        )
    for note in state.notes:
        print(f"note: {note}")


def _env(fleet: Fleet) -> None:
    state, places = fleet.state(), fleet.places
    values = {
        "SIDESTEP_TESTFLEET": fleet.name,
        "TESTFLEET_WITHIN": " ".join(fleet.within([])),
        "TESTFLEET_HOSTS": " ".join(f"{name}={host.plan.address}" for name, host in state.hosts.items()),
        "TESTFLEET_IDENTITY": str(places.identity),
        "TESTFLEET_KNOWN_HOSTS": str(places.known_hosts),
        "TESTFLEET_SSH_CONFIG": str(places.ssh_config),
    }
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")


def _become(argv: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(argv[0], argv)
