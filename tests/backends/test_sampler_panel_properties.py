"""The panel against a plain decoder, and against any bytes that a host may send."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_reference import Host

from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST_COLUMNS, MAX_LINE, SHARD_COLUMNS

NOW = 1_700_000_000.0
NAMES = ("a", "b", "c.1", "d")
HOST, SHARD = len(HOST_COLUMNS), len(SHARD_COLUMNS)
SIZES = f"{HOST} {SHARD}"


class Script:
    """Writes what a sane sampler would: totals that mostly grow, now and then unknown, reset, or with decimals."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.totals = {name: self.random.randrange(10 ** self.random.randrange(1, 16)) for name, _ in HOST_COLUMNS}
        self.shards: dict[str, list[int]] = {}
        self.names: tuple[str, ...] = ()
        self.seq, self.at_ms, self.run = 0, self.random.randrange(10**10), 0

    def begin(self, boot: str) -> list[str]:
        self.seq, self.run = 0, self.run + 1
        if boot != "00000000":
            self.at_ms = self.random.randrange(10**10)
        return [f"H2 1 6.1 100 python {boot}", "F cpus=4"]

    def schema(self, names: tuple[str, ...]) -> list[str]:
        self.names = names
        return [f"K {SIZES} {','.join(names) or '-'}"]

    def sample(self, more_ms: int, skipped: int) -> list[str]:
        pick = self.random
        self.seq, self.at_ms = self.seq + 1 + skipped, self.at_ms + more_ms
        words = [self._number(name, kind, self.totals) for name, kind in HOST_COLUMNS]
        for name in self.names:
            pid, *totals = self.shards.setdefault(name, [pick.randrange(1, 9)] + [0] * 7)
            if pick.random() < 0.1:
                pid = pick.randrange(9)
            totals = [max(0, total + pick.randrange(-60_000, 200_000)) for total in totals]
            self.shards[name] = [pid, *totals]
            words += [str(pid), "7", str(pick.randrange(2)), *(str(t) if pick.random() < 0.9 else "-" for t in totals)]
        return [f"V {self.seq} {self.at_ms} {' '.join(words)}"]

    def _number(self, name: str, kind: str, totals: dict[str, int]) -> str:
        pick = self.random.random()
        if pick < 0.05:
            return "-"
        if pick < 0.1:
            totals[name] = max(0, totals[name] - self.random.randrange(100_000))
        elif kind == "counter":
            totals[name] += self.random.randrange(10**6)
        return (
            f"{totals[name]}.{self.random.randrange(100):02d}"
            if pick > 0.95 and totals[name] < 10**12
            else str(totals[name])
        )


STEPS = st.one_of(
    st.tuples(st.just("sample"), st.integers(0, 3000), st.integers(0, 2)),
    st.tuples(st.just("schema"), st.sets(st.sampled_from(NAMES)).map(lambda found: tuple(sorted(found))), st.just(0)),
    st.tuples(st.just("begin"), st.sampled_from(["00000000", "00000000", "11111111", "-"]), st.just(0)),
)
PHASES = st.lists(st.lists(st.lists(STEPS, max_size=4), min_size=2, max_size=2), min_size=1, max_size=6)


def fed(intake: Intake, data: bytes, cuts: random.Random) -> None:
    while data:
        cut = cuts.choice([1, 3, 40, 400, len(data)])
        intake.data(data[:cut])
        data = data[cut:]


def same(found: object, expected: object) -> bool:
    return np.allclose(np.array(found), np.array(expected, dtype=float), rtol=1e-12, atol=0, equal_nan=True)


@settings(deadline=None)
@given(PHASES, st.integers(0, 2**32))
def test_the_panel_agrees_with_a_plain_decoder_however_lines_are_cut(phases: list, seed: int) -> None:  # type: ignore[type-arg]
    cuts = random.Random(seed)
    count = len(phases[0])
    panel, plain = Panel(["x"] * count), [Host() for _ in range(count)]
    scripts = [Script(seed + row) for row in range(count)]
    intakes: list[Intake] = []
    for row in range(count):
        intakes.append(panel.intake(row))
        lines = scripts[row].begin("00000000") + scripts[row].schema(NAMES[: row + 1])
        for line in lines:
            plain[row].line(line)
        fed(intakes[row], "".join(f"{line}\n" for line in lines).encode(), cuts)
    for phase in phases:
        for row, steps in enumerate(phase):
            script = scripts[row]
            for kind, first, second in steps:
                lines = {
                    "sample": lambda a, b, s=script: s.sample(a, b),
                    "schema": lambda a, _, s=script: s.schema(a) if a != s.names else [],
                    "begin": lambda a, _, s=script: s.begin(a) + s.schema(s.names),
                }[kind](first, second)
                if kind == "begin":
                    intakes[row] = panel.intake(row)
                for line in lines:
                    plain[row].line(line)
                fed(intakes[row], "".join(f"{line}\n" for line in lines).encode(), cuts)
        assert panel.decode(NOW) == ()
        for host in plain:
            host.decode()
        assert same(panel.values, [host.values for host in plain])
        assert same(panel.rates, [host.rates for host in plain])
        for name in ("seq", "at_ms", "gaps", "restarts", "resets"):
            assert getattr(panel, name).tolist() == [getattr(host, name) for host in plain], name
        assert panel.shard_names == tuple(name for host in plain for name in host.names)
        assert panel.shard_host.tolist() == [row for row, host in enumerate(plain) for _ in host.names]
        known = [shard for host in plain for shard in host.shards.values()]
        assert same(panel.shard_values, np.reshape([s.values for s in known], (-1, len(SHARD_COLUMNS))))
        assert same(panel.shard_rates, np.reshape([s.rates for s in known], (-1, len(SHARD_COLUMNS))))


WORD = st.one_of(
    st.integers(-5, 2**70).map(lambda n: b"%d" % n),
    st.sampled_from([b"-", b"36", b"10", b"a,b", b"1.5", b"nan", b"inf", b"1e4", b"", b"\xff", b"\x1b[2J"])
    | st.sampled_from([b"0x10", b"1.", b".5", b"1.2.3", b"9" * 19, b"9" * 20, b"9" * 21, b"a@5/-", b"cpus=4", b"--"]),
)


def sample_with(seq: int, at_ms: int, place: int, word: bytes, shards: int) -> bytes:
    """A good sample but for one word."""
    words = [b"1"] * (HOST + SHARD * shards)
    return b" ".join([b"V", b"%d" % seq, b"%d" % at_ms, *words[:place], word, *words[place + 1 :]])


SAMPLE = st.builds(
    sample_with, st.integers(0, 2**64), st.integers(0, 2**64), st.integers(0, 60), WORD, st.integers(0, 3)
)
LINE = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda kind, words: kind + b" " + b" ".join(words),
        st.sampled_from([b"H2", b"H1", b"F", b"K", b"V", b"T", b"E", b"K %s" % SIZES.encode(), b"V 3 3"]),
        st.lists(WORD, max_size=45),
    ),
    SAMPLE,
    SAMPLE,
    st.sampled_from([b"H2 1 k 100 python 00000000", f"K {SIZES} a,b".encode(), f"K {SIZES} -".encode(), b"T -"]),
)


@settings(deadline=None)
@given(st.lists(LINE, max_size=8), st.booleans(), st.integers(0, 2**32))
def test_no_bytes_of_one_host_raise_or_change_another(lines: list[bytes], begun: bool, seed: int) -> None:
    cuts = random.Random(seed)
    together, alone = Panel(["evil", "good", "evil"]), Panel(["good"])
    script = Script(seed)
    good, twin = together.intake(1), alone.intake(0)
    evil = [together.intake(row) for row in (0, 2)]
    if begun:
        for intake in evil:
            intake.data(f"H2 1 k 100 python 00000000\nK {SIZES} a,b\n".encode())
    sane = script.begin("00000000") + script.schema(("a", "b"))
    for intake in (good, twin):
        intake.data("".join(f"{line}\n" for line in sane).encode())
    for line in lines:
        for intake in evil:
            fed(intake, line + b"\n" * (cuts.random() < 0.9), cuts)
        sample = script.sample(1000, 0)[0].encode() + b"\n"
        good.data(sample)
        twin.data(sample)
        if cuts.random() < 0.5:
            found = together.decode(NOW)
            assert {row for row, _ in found} <= {0, 2}
            for row, error in found:
                assert evil[row // 2].error is not None
                assert str(error.args[0]).isprintable()
            assert alone.decode(NOW) == ()
        for name in ("values", "rates"):
            assert np.array_equal(getattr(together, name)[1], getattr(alone, name)[0], equal_nan=True)
        theirs = together.shard_host == 1
        assert np.array_equal(together.shard_rates[theirs], alone.shard_rates, equal_nan=True)
        assert (together.gaps >= 0).all()
    assert good.error is None


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 100_000), st.booleans())
def test_a_line_without_end_is_not_kept(piece: int, begun: bool) -> None:
    panel = Panel(["h"])
    intake = panel.intake(0)
    if begun:
        intake.data(f"H2 1 k 100 python 00000000\nK {SIZES} -\n".encode())
    sent = 0
    while sent < MAX_LINE + 2 * piece and intake.error is None:
        intake.data(b"V " + b"1" * (piece - 2) if not sent and piece > 2 else b"1" * piece)
        sent += piece
    assert intake.error is not None
    assert sent <= MAX_LINE + piece
    assert not intake._tail
