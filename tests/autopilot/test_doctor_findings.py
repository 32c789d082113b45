"""What the doctor says: what many hosts share is said once, and every finding has its remedy. No I/O."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidestep.autopilot.doctor import findings, judge, probe
from sidestep.autopilot.doctor.findings import Examined, Finding, found
from sidestep.backends.process.able import Ability
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostKeyRefused, HostUnreachable
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label


def host(name: str, *rows: Finding) -> Examined:
    return Examined(host=Label(name), findings=rows)


def test_identical_findings_of_many_hosts_are_one_line() -> None:
    unknown = [
        host(f"web{n:02d}", found(f"web{n:02d}", "host key", "problem", "unknown", detail=f"key {n}",
                                  remedy="sidestep trust HOST"))
        for n in range(1, 38)
    ]  # fmt: skip
    well = host("db1", found("db1", "login", "ok", "as ops"))
    assert findings.lines("shop", [well, *unknown]) == [
        "problem  host key: unknown: 37 hosts: web[01-37]",
        "         - key 1",
        "         - key 2",
        "         - key 3",
        "         remedy: sidestep trust HOST, for each HOST of them",
        "ok       db1: login: as ops",
        "",
        "38 hosts of fleet shop: 1 well, 0 with warnings, 37 with problems",
    ]


def test_hosts_without_a_common_name_are_cut_short() -> None:
    names = [first + last for first, last in zip("abcdefghijklmnop", "zyxwvutsrqponmlk", strict=True)]
    rows = [host(name, found(name, "x", "warning", "y")) for name in names]
    (line, *_) = findings.lines("f", rows)
    assert line.endswith(", and 4 more")


def test_a_host_about_which_nothing_is_known_is_not_well() -> None:
    assert host("a").state == "problem"
    assert findings.exit_code([host("a")]) == 1
    assert findings.exit_code([host("a", found("a", "x", "warning", "y"))]) == 0
    assert findings.exit_code([]) == 0


def test_a_host_that_cannot_do_what_driver_criu_needs_is_told_with_code_command_and_remedy() -> None:
    """By name, on the host that it is about."""
    told = judge.memory("a", Ability(code="CRIU_KERNEL", text=Label("criu 3 does not"), criu=Label("3"), sockets=False))
    assert (told.check, told.state, told.text) == ("criu", "warning", "CRIU_KERNEL: driver criu cannot be used")
    assert "criu 3 does not; command: criu check" in told.detail and "newer criu" in told.remedy
    works = judge.memory("a", Ability(criu=Label("4.1"), kernel=Label("6.16"), sockets=False))
    assert (works.state, works.text) == ("ok", "driver criu works, without network sockets")


def test_the_report_names_the_host_in_its_remedies() -> None:
    told = findings.report("f", [host("a", found("a", "host key", "problem", "x", remedy="sidestep trust HOST"))])
    assert told.state == "problem"
    assert told.hosts[0].findings[0].remedy == "sidestep trust a"
    assert list(msgspec.json.decode(msgspec.json.encode(told))) == ["version", "fleet", "state", "hosts"]


@pytest.mark.parametrize(
    ("error", "check", "text", "remedy"),
    [
        (HostKeyRefused("unknown7", "connect", "host key of x has changed: it"), "host key", "changed", "trust HOST"),
        (HostKeyRefused("h", "connect", "host key of x is unknown: it"), "host key", "unknown", "trust HOST"),
        (HostKeyRefused("h", "connect", "host key of x is revoked: it"), "host key", "revoked", "do not connect"),
        (HostKeyRefused("h", "connect", "host key of x is not signed by"), "host key", "not signed", "sign the host's"),
        (AuthenticationRefused("h", "connect", "user x is refused"), "login", "refused", "authorized_keys"),
        (HostUnreachable("h", "connect", "no", hint="wait"), "connection", "no connection", "wait"),
        (HostError("h", "connect", "no algorithm in common", hint="update"), "connection", "no connection", "update"),
    ],
)
def test_every_refusal_is_a_finding_with_a_remedy(error: HostError, check: str, text: str, remedy: str) -> None:
    finding = judge.refused("h", error)
    assert (finding.check, finding.state) == (check, "problem")
    assert text in finding.text
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("tcp", "banner", "text"),
    [
        ("refused", None, "the port is closed"),
        ("silent", None, "does not answer"),
        ("No route to host", None, "cannot be reached"),
        ("", None, "stays silent"),
        ("", b"", "something other than sshd"),
        ("", b"220 smtp\x1b[2J", "something other than sshd"),
        ("", b"SSH-2.0-x", "there is no login"),
    ],
)
def test_a_plain_connection_tells_why_there_is_none(tcp: str, banner: bytes | None, text: str) -> None:
    finding = judge.unreachable("h", HostUnreachable("h", "connect", "x"), tcp=tcp, banner=banner)
    assert text in finding.text
    assert finding.remedy
    assert finding.detail.isprintable()


def said(*, noise: bytes = b"", **changes: str) -> probe.Seen:
    lines = {
        "time": "1700000000", "user": "ops", "tool.python3": "/usr/bin/python3", "tool.setsid": "/usr/bin/setsid",
        "tool.sha256sum": "/usr/bin/sha256sum", "tool.tar": "/bin/tar", "state": "/h/.local/state/sidestep",
        "nearest": "/h", "writable": "yes", "df": "/dev/sda1 100 20 99999999 20% /",
    } | {key.replace("__", "."): value for key, value in changes.items()}  # fmt: skip
    body = "".join(f"{key}={value}\n" for key, value in lines.items() if value)
    seen = probe.parse(noise + f"sidestep-doctor\n{body}sidestep-end\n".encode())
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("seen", "check", "state", "text"),
    [
        (said(), "tools", "ok", "python3"),
        (said(tool__sha256sum=""), "tools", "problem", "SHA-256"),
        (said(tool__tar=""), "tools", "problem", "tar"),
        (said(tool__setsid=""), "tools", "ok", "python3"),
        (said(tool__setsid="", tool__python3=""), "tools", "problem", "setsid"),
        (said(writable=""), "state folder", "problem", "cannot be written"),
        (said(state=""), "state folder", "problem", "neither HOME"),
        (said(), "disk", "ok", "enough"),
        (said(df="/dev/sd a 9 9 900000 20% /a b"), "disk", "warning", "little"),
        (said(df="tmpfs 9 9 1024 99% /"), "disk", "problem", "little"),
        (said(noise=b"Hello\n\x1b[1m"), "login shell", "warning", "prints text"),
        (said(), "login shell", "ok", "silent"),
    ],
)
def test_what_a_host_says_is_judged(seen: probe.Seen, check: str, state: str, text: str) -> None:
    (finding,) = (f for f in judge.within("h", seen) if f.check == check)
    assert finding.state == state
    assert text in finding.text
    assert finding.remedy or state == "ok"
    assert finding.detail.isprintable()


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_a_host_says_is_read_or_refused_and_never_shown_raw(before: bytes, body: bytes) -> None:
    seen = probe.parse(before + b"sidestep-doctor\n" + body + b"\nsidestep-end\n")
    assert seen is not None
    for finding in judge.within("h", seen):
        assert (finding.text + finding.detail + finding.remedy).isprintable()
    cut = probe.parse(body)
    assert cut is None or b"sidestep-end" in body


@pytest.mark.parametrize(
    ("skew", "state"), [(0.4, "ok"), (-1.9, "ok"), (2.5, "warning"), (-90.0, "warning"), (float("nan"), "skipped")]
)
def test_a_clock_may_be_two_seconds_wrong(skew: float, state: str) -> None:
    assert judge.clock("h", skew, 0.0).state == state


def test_slow_commands_few_sessions_and_silent_kernels_are_warnings() -> None:
    assert [f.state for f in judge.latency("h", [0.1, 9.0, 0.1])] == ["ok"]
    assert [f.state for f in judge.latency("h", [1.5, 1.2, 0.1])] == ["warning"]
    assert "handshakes_per_address = 4" in judge.crowded("h", 4, 8).remedy
    assert judge.sessions("h", 8, 8, "").state == "ok"
    assert judge.sessions("h", 4, 8, "x").state == "warning"
    assert judge.sessions("h", 1, 8, "x").state == "problem"
    facts = {"cpus": "2", "memory": "1073741824", "psi": "no", "container": "bare"}
    rows = judge.sampled("h", "perl", "python", facts)
    assert [(f.check, f.state) for f in rows] == [
        ("sampler", "warning"), ("facts", "ok"), ("container", "warning"), ("psi", "warning"),
    ]  # fmt: skip
    assert "1.0GB" in rows[1].detail
    assert judge.differs("h", ("port: sidestep 22, ssh 23",)).state == "warning"


def test_what_is_declared_is_compared_with_what_there_is() -> None:
    facts = {"cpus": "4", "memory": str(8 << 30)}
    spec = HostSpec(name=Label("h"), address="a", cpu=4, memory=(8 << 30) + (100 << 20))
    assert judge.capacity(spec, facts) == []
    (more,) = judge.capacity(replace(spec, cpu=8.0), facts)
    assert (more.state, more.text, more.detail) == (
        "warning", "more cpu is declared than there is", "8 cores of 4 cores",
    )  # fmt: skip
    (none,) = judge.capacity(HostSpec(name=Label("h"), address="a", reserve_memory=9 << 30), facts)
    assert (none.state, none.text) == ("problem", "the reserve leaves no memory")
    assert judge.capacity(HostSpec(name=Label("h"), address="a"), {"cpus": "x", "memory": "-1"}) == []


def test_the_page_names_every_check_and_every_key() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "doctor.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([^`]+)` \|", page.partition("## JSON")[0], re.MULTILINE))
    source = (root / "autopilot" / "doctor" / "judge.py").read_text(encoding="utf-8")
    assert listed == set(re.findall(r'\bfound\(\s*(?:host|spec\.name), "([^"]+)"', source))
    for struct in (findings.Report, findings.Told, Finding):
        assert all(f"`{name}`" in page for name in struct.__struct_fields__)


def test_a_host_that_says_far_too_much_is_not_listened_to() -> None:
    body = b"".join(b"k%x=\n" % number for number in range(200_000))
    assert probe.parse(b"sidestep-doctor\nuser=me\n" + body + b"sidestep-end\n") is None
    assert probe.parse(b"motd\n" * 1000 + b"sidestep-doctor\nuser=me\nsidestep-end\n") is not None
