"""The test fleet's pure parts: plans, arguments, package sources, and what it remembers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from scripts.testfleet import cli, processes, rootfs, sources  # noqa: E402
from scripts.testfleet.cgroups import Cgroups  # noqa: E402
from scripts.testfleet.plan import DEFAULT, MAX_HOSTS, HostPlan, plan  # noqa: E402
from scripts.testfleet.processes import Process  # noqa: E402
from scripts.testfleet.shell import Impossible  # noqa: E402
from scripts.testfleet.state import FleetState, HostState, load, locked, save  # noqa: E402
from sidestep.fleet.errors import SidestepError, UsageError  # noqa: E402

# -- plans


def test_the_default_fleet_has_two_full_hosts_of_each_layout_and_every_interpreter() -> None:
    hosts = plan(DEFAULT)
    full = [h.layout for h in hosts if h.interpreter == "python"]
    assert sorted(full) == ["hybrid", "hybrid", "unified", "unified"]
    assert {h.interpreter for h in hosts} == {"python", "perl", "awk", "sh"}


def test_addresses_hardware_addresses_and_links_never_collide_and_fit_the_kernel() -> None:
    hosts = plan([f"host-{i:05}" for i in range(MAX_HOSTS)])
    assert len({h.address for h in hosts}) == len({h.mac for h in hosts}) == len({h.link for h in hosts}) == MAX_HOSTS
    assert (hosts[0].address, hosts[-1].address) == ("198.18.0.10", "198.18.0.209")
    assert all(len(h.link) <= 15 for h in plan(["a" * 12, *"bc"]))


def test_a_hosts_own_words_win_over_those_for_all() -> None:
    a, b = plan(["a:layout=unified,memory=1.5G", "b"], ["layout=hybrid", "cpu=0.5"])
    assert a == HostPlan(name="a", index=0, layout="unified", cpu=0.5, memory=3 << 29)
    assert b == HostPlan(name="b", index=1, layout="hybrid", cpu=0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up", "h1", "h1"], "host h1: named twice"),
        (["up", "H1"], "host 'H1': a name has 1 to 12 of"),
        (["up", "a-name-too-long"], "host 'a-name-too-long'"),
        (["up", "h1:layout=v3"], "host h1: layout 'v3': expected hybrid or unified"),
        (["up", "h1:interpreter=ruby"], "host h1: interpreter 'ruby': expected python, perl, awk, sh"),
        (["up", "h1:colour=red"], "'colour=red': expected layout=, interpreter=, cpu= or memory="),
        (["up", "--cpu", "much"], "cpu 'much': not a number of cores"),
        (["up", "--cpu", "nan"], "cpu 'nan': not a number of cores"),
        (["up", "--memory", "12Q"], "memory '12Q': not a size"),
        (["up", "--memory", "1M"], "a host needs at least 64M"),
        (["up", "-n", "0"], "-n 0: give a number of hosts or their names"),
        (["up", "-n", "201"], "201 hosts: at most 200"),
        (["up", "-n", "2", "h1"], "give a number of hosts or their names"),
        (["up", "--layout", "v1"], "invalid choice: 'v1'"),
        (["--fleet", "../etc", "down"], "fleet '../etc': a name has"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "the following arguments are required: COMMAND"),
        (["exec", "h1"], "exec: the command is missing"),
        (["down", "--", "true"], "down: takes no command"),
        (["limit", "h1"], "limit: give --cpu or --memory"),
        (["--fleet", "no-such-fleet", "status"], "test fleet no-such-fleet is not up"),
        (["--fleet", "no-such-fleet", "cut", "h1"], "test fleet no-such-fleet is not up"),
    ],
)
def test_what_cannot_be_meant_is_said_and_ends_with_two(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("testfleet: ")
    assert said in error


@given(st.text(max_size=30))
def test_no_text_makes_a_host_with_a_name_that_is_none(text: str) -> None:
    try:
        (host,) = plan([text])
    except UsageError:
        return
    assert host.name.isascii()
    assert host.name == host.name.lower()
    assert "/" not in host.link
    assert len(host.link) <= 15


# -- what is remembered


def test_the_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    state = FleetState(
        name="x",
        rootfs="/image",
        hosts={"h1": HostState(plan=HostPlan(name="h1", index=0), pid1=Process(12, 3456))},
        owner=Process(1, 2),
        notes=["no lxcfs"],
    )
    save(tmp_path / "x.json", state)
    assert load(tmp_path / "x.json") == state
    assert [f.name for f in tmp_path.iterdir()] == ["x.json"]
    assert load(tmp_path / "other.json") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"name": 3}', '{"version": 99, "name": "x", "rootfs": "", "hosts": {}}']
)
def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SidestepError, match=r"x\.json"):
        load(tmp_path / "x.json")


def test_the_lock_is_held_by_one_at_a_time_even_when_its_file_is_removed(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with locked(path):
            entered.set()
            leave.wait(10)
            order.append("first")
            path.unlink()

    def second() -> None:
        with locked(path):
            order.append("second")
            assert path.exists()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second"]


# -- processes


def test_a_process_with_another_start_time_is_never_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = processes.identify(child.pid)
        assert found is not None
        assert processes.alive(found)
        stale = Process(child.pid, found.started - 1)
        assert not processes.alive(stale)
        assert not processes.send(stale, signal.SIGKILL)
        assert child.poll() is None
        assert processes.send(found, signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    assert not processes.send(found, signal.SIGKILL)
    assert processes.wait_gone(found, 0)


def test_only_the_fleets_own_groups_are_looked_into(tmp_path: Path) -> None:
    mounts = "".join(f"cgroup {tmp_path}/{name} cgroup rw 0 0\n" for name in ("cpu", "memory", "freezer", "unified"))
    for group in ("sidestep-testfleet.a/h1", "sidestep-testfleet.ab/h1"):
        folder = tmp_path / "cpu" / group
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text(f"{1 if group.endswith('a/h1') else 2}\n")
    (tmp_path / "mounts").write_text(mounts)
    groups = Cgroups("a", tmp_path, tmp_path / "mounts")
    assert groups.pids() == {1}
    assert groups.layouts() == ("hybrid", "unified")


def test_a_machine_without_the_controllers_that_hosts_need_says_which(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(f"cgroup {tmp_path}/cpu cgroup rw 0 0\n")
    with pytest.raises(Impossible, match="freezer, memory, unified"):
        Cgroups("a", tmp_path, tmp_path / "mounts")


def test_a_machine_with_cgroup2_alone_has_only_that_layout(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert Cgroups("a", tmp_path, tmp_path / "mounts").layouts() == ("unified",)


# -- the image

LINES = """
# a comment
deb http://mirror.example/debian bookworm main contrib
deb [signed-by=/usr/share/keyrings/x.gpg check-valid-until=no] http://mirror.example/security bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian trixie main
deb https://vendor.example/apt bookworm stable
"""
STANZAS = """
# a snapshot
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://vendor.example/node
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://mirror.example/other
Suites: bookworm
Components: main

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
"""


def test_the_image_is_made_from_the_machines_own_archive_and_no_vendors(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(LINES)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(STANZAS)
    (tmp_path / "sources.list.d" / "old.save").write_text(LINES)
    found = sources.machine_sources("bookworm", tmp_path)
    assert found["machine.list"].splitlines() == [
        "deb http://mirror.example/debian bookworm main contrib",
        "deb [signed-by=/usr/share/keyrings/x.gpg check-valid-until=no]"
        " http://mirror.example/security bookworm-security main",
    ]
    assert found["machine.sources"].startswith("Types: deb\nURIs: http://mirror.example/debian\n")
    assert found["machine.sources"].endswith(" -----END PGP PUBLIC KEY BLOCK-----\n")
    assert found["machine.sources"].count("Types:") == 1
    assert sources.machine_sources("sid", tmp_path) == {}


def test_another_release_or_package_makes_another_image(tmp_path: Path) -> None:
    places = {
        rootfs.place(tmp_path, "bookworm"),
        rootfs.place(tmp_path, "trixie"),
        rootfs.place(tmp_path, "bookworm", (*rootfs.PACKAGES, "cron")),
    }
    assert len(places) == 3
    assert rootfs.place(tmp_path, "bookworm") in places


def test_the_machines_release_is_its_code_name(tmp_path: Path) -> None:
    (tmp_path / "os").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    assert sources.machine_suite(tmp_path / "os") == "bookworm"
    assert sources.machine_suite(tmp_path / "none") == ""


# -- where there can be no fleet


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_where_no_fleet_is_possible_its_command_is_skipped_loudly_or_fails_in_ci(
    ci: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["--fleet", "nobody", "run", "--", "pytest", "tests/systemd"]) == status
    said = capsys.readouterr().err
    assert "SKIPPED, no test fleet here" in said
    assert "that needs root" in said
    assert "not run: pytest tests/systemd" in said
