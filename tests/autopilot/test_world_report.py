"""What is said of many hosts at once: the first ones singly, the others in one line."""

from __future__ import annotations

from sidestep.autopilot.world_report import ALONE, LATEST, MOST, QUIET, Chorus, fold
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label, scrub


def host(number: int) -> HostSpec:
    return HostSpec(name=Label(f"web-{number}"), address=f"10.0.{number // 250}.{number % 250 + 1}")


def refused(spec: HostSpec) -> str:
    return f"DEAD: {spec.name}: connect: {spec.address} port 22: [Errno 111] refused ('{spec.address}', 22)"


def test_a_thousand_hosts_with_one_cause_are_a_few_lines() -> None:
    said: list[str] = []
    chorus = Chorus(said.append)
    for number in range(1000):
        chorus.say(host(number), refused(host(number)), number / 500)
        chorus.flush(number / 500)
    assert len(said) == ALONE
    chorus.flush(2 + QUIET)
    assert len(said) == ALONE + 1
    assert said[-1].startswith("997 more hosts (web-3, web-4, web-5 ...): DEAD: web-3: connect: 10.0.0.4 port 22")


def test_a_burst_that_goes_on_is_told_now_and_then() -> None:
    said: list[str] = []
    chorus = Chorus(said.append)
    for tenth in range(int(20 * LATEST)):
        chorus.say(host(tenth), "READY", tenth / 10)
        chorus.flush(tenth / 10)
    chorus.finish()
    assert len(said) == ALONE + 2
    assert sum(int(line.split()[0]) for line in said[ALONE:]) == 20 * LATEST - ALONE


def test_different_causes_are_told_apart_and_one_more_host_keeps_its_own_line() -> None:
    said: list[str] = []
    chorus = Chorus(said.append)
    for number in range(ALONE + 1):
        chorus.say(host(number), refused(host(number)), 0.0)
        chorus.say(host(number), "SUSPECT: 3 samples missed", 0.0)
    assert len(said) == 2 * ALONE
    chorus.finish()
    assert said[-1] == f"web-{ALONE}: SUSPECT: 3 samples missed"


def test_after_a_quiet_while_single_hosts_are_told_singly_again() -> None:
    said: list[str] = []
    chorus = Chorus(said.append)
    for second in (0, 10, 20, 30, 40):
        chorus.say(host(1), "READY", float(second))
        chorus.flush(second + QUIET)
    assert said == ["web-1: READY"] * 5


def test_hosts_with_one_cause_are_one_trouble_and_the_widest_comes_first() -> None:
    rows = [(host(n), "DEAD", scrub(refused(host(n)))) for n in range(5)]
    rows.insert(2, (host(9), "SUSPECT", scrub("3 samples missed")))
    first, second = fold(rows)
    assert (len(first.hosts), len(second.hosts)) == (5, 1)
    assert str(first).startswith("5 hosts: DEAD: ") and str(first).endswith("(web-0, web-1, web-2 ...)")
    assert str(second) == "web-9: SUSPECT: 3 samples missed"


def test_one_host_cannot_fill_the_log_whatever_it_says() -> None:
    said: list[str] = []
    chorus = Chorus(said.append)
    for second in range(120):
        chorus.say(host(1), f"SUSPECT: {'abcdefghij'[second % 10] * (second + 1)}", float(second))
        chorus.flush(float(second))
    chorus.finish()
    assert len(said) <= 2 * MOST + 2
    assert any("more changes in a minute were left out" in line for line in said)
