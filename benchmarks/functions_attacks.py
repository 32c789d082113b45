"""What a hostile worker, host or engine can say, one attack at a time, each against the product's own reader (Show 6).

Every attack gives the words in which it was refused, and raises ``Believed`` when it was not. Whatever in them could
run, leaves ``exploded`` in the folder it is given.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgpack
import msgspec
import numpy as np
import zstandard

from benchmarks.functions_attacks_runner import HUGE, Believed, Bomb, runner
from sidestep.autopilot.functions.calling import value_of
from sidestep.backends.functions import blocks, capsules, frames, running, words
from sidestep.backends.functions.agents import Site
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.guarding import Guard, Saved
from sidestep.backends.functions.job import Finished
from sidestep.backends.functions.ledger import Ledger
from sidestep.backends.functions.setup import new_signing_key, public_of
from sidestep.fleet.capsules import CHUNK, CapsuleHeader, encoded, framed
from sidestep.fleet.capsules import read as read_header
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.invocations import parse_report
from sidestep.sharding import codec
from sidestep.sharding.capsules import Origin
from sidestep.sharding.codec import Encoded


@dataclass(frozen=True)
class Attack:
    """One attack: by what means, on whom, and in which words it has to be refused."""

    kind: str
    name: str
    on: str
    words: str
    make: Callable[[Path], str]


def refused(work: Callable[[], object], *kinds: type[BaseException]) -> str:
    """The words of a refusal. Raises Believed for an answer."""
    try:
        answer = work()
    except (*kinds, SidestepError) as error:
        return f"{type(error).__name__}: {error}"
    raise Believed(f"answered {answer!r:.200}")


# -- capsules, as the conductor believes them


class Forge:
    """A host with a key, a capsule of block b1 that it made with token 3, and a conductor that knows the host."""

    def __init__(self, folder: Path) -> None:
        self.key, self.store = new_signing_key(), capsules.Store(folder / "chunks")
        self.keeper = capsules.Keeper(self.store, self.key, Origin("h1", "b1", 3, program=b"p"), 0)
        self.made = self.keep(1)
        cluster = Cluster([Site("h1", "127.0.0.1", None)])  # type: ignore[arg-type] - nobody is called
        agent = cluster._agents["h1"]
        agent.ready = words.Ready(words.VERSION, "", "", "", 1, public_of(self.key))
        self.guard = Guard(cluster)

    def keep(self, seed: int) -> capsules.Kept:
        """A further capsule."""
        state = np.arange(5000, dtype=np.float64) * seed
        return self.keeper.keep(Encoded(b"stream", (state.view(np.uint8),)))

    def believe(self, sealed: bytes, *, block: str = "b1", token: int = 3, former: Saved | None = None) -> str:
        """What the conductor says of it; it has to be counted against the host."""
        said = refused(lambda: self.guard.believed("h1", block, token, sealed, former))
        if not self.guard.refused or self.guard.refused[-1][0] != "h1":
            raise Believed("refused, but not counted against its host")
        return said


def flipped(folder: Path) -> str:
    """Every single byte of header and signature, one after the other."""
    forge = Forge(folder)
    sealed, said = forge.made.sealed, ""
    for at in range(len(sealed)):
        spoilt = sealed[:at] + bytes([sealed[at] ^ 1 << at % 8]) + sealed[at + 1 :]
        said = forge.believe(spoilt)
    return f"{len(sealed)} of {len(sealed)}: {said}"


def flipped_chunk(folder: Path) -> str:
    forge = Forge(folder)
    name = forge.made.header.names()[-1]
    (record,) = forge.store.records([name])
    other = capsules.Store(folder / "other")
    return refused(lambda: other.take({name: record[:-1] + bytes([record[-1] ^ 1])}))


def forged(folder: Path) -> str:
    forge = Forge(folder)
    return forge.believe(Forge(folder).made.sealed)


def in_anothers_name(folder: Path) -> str:
    forge = Forge(folder)
    origin = Origin("h2", "b1", 3, program=b"p")
    made = capsules.Keeper(forge.store, forge.key, origin, 0).keep(Encoded(b"s", ()))
    return forge.believe(made.sealed)


def cut(folder: Path) -> str:
    forge = Forge(folder)
    return forge.believe(forge.made.sealed[:-9])


def of_another_block(folder: Path) -> str:
    forge = Forge(folder)
    return forge.believe(forge.made.sealed, block="b2")


def old_token(folder: Path) -> str:
    forge = Forge(folder)
    return forge.believe(forge.made.sealed, token=4)


def had_before(folder: Path) -> str:
    forge = Forge(folder)
    newer = forge.keep(2)
    former = Saved(newer.header, newer.sealed, 0.0, {"h1"})
    return forge.believe(forge.made.sealed, former=former)


def late_result(folder: Path) -> str:
    ledger = Ledger()
    old = ledger.give("b1", "h1")
    ledger.give("b1", "h2")
    verdict = ledger.commit("b1", old, b"late")
    if verdict.value != "stale":
        raise Believed(verdict.value)
    return "Verdict: stale"


def second_start(folder: Path) -> str:
    """The worker's own door: a token that it has seen."""
    from sidestep.backends.functions.place import Place  # noqa: PLC0415

    place = Place.__new__(Place)
    vars(place).update(running={}, _tokens={"b1": 4}, _turn=contextlib.nullcontext())
    if place.fence("b1", 4) or place.fence("b1", 3):
        raise Believed("an old token was taken")
    return "fence: token 4 of b1 is not newer than the last that was seen"


# -- lengths that lie


def spared(work: Callable[[], str]) -> str:
    """Do it; it must not take memory for what is claimed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = work()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    if grown > 256 << 20:
        raise Believed(f"refused, but {grown >> 20} MiB of memory were taken first")
    return said


def huge_file(folder: Path) -> str:
    path = folder / "huge.capsule"
    with path.open("wb") as file:
        file.write(b"SIDECAP\x01" + struct.pack("<I", 0xFFFFFFFF))
        file.truncate(HUGE)
    return spared(lambda: refused(lambda: read_header(path)))


def huge_state(folder: Path) -> str:
    """A header that is signed by its host, and claims ten gigabytes in two chunks."""
    forge = Forge(folder)
    header = CapsuleHeader(host="h1", shard="b1", token=3, parts=(HUGE,), chunks=b"x" * 32)
    return spared(lambda: forge.believe(framed(encoded(header), b"s" * 64)))


def huge_frame(folder: Path) -> str:
    return spared(lambda: refused(lambda: frames.read(io.BytesIO(b"\xff" * 4 + b"x" * 99), words.FromAgent)))


def huge_list(folder: Path) -> str:
    """Inside a frame of a few bytes: an array of four thousand million entries."""
    body = b"\x82" + msgpack.packb("w") + msgpack.packb("Ready") + msgpack.packb("cores") + b"\xdd\xff\xff\xff\xff"
    return spared(lambda: refused(lambda: frames.unpack(body, words.FromAgent)))


def huge_chunk(folder: Path) -> str:
    """A chunk of ten gigabytes of nothing, packed to a few bytes."""
    packed = zstandard.ZstdCompressor().compress(bytes(CHUNK * 64))
    claim = b"\x28\xb5\x2f\xfd\xc0\x00" + struct.pack("<Q", HUGE) + packed[6:]
    said = ""
    for bomb in (packed, claim):
        given = {b"n" * 16: b"n" * 16 + struct.pack("<I", len(bomb)) + bomb}
        said = spared(lambda g=given: refused(lambda: capsules.Store(folder / "c").take(g)))  # type: ignore[misc]
    return said


def huge_value(folder: Path) -> str:
    """A result whose columns claim more than is there."""
    said = ""
    honest = codec.dumps([1.5] * 64)
    for at in range(len(honest)):
        spoilt = honest[:at] + b"\xff\xff\xff\xff\xff\xff\x7f" + honest[at + 1 :]
        with contextlib.suppress(Believed):  # a number among the values may be another one
            said = spared(lambda s=spoilt: refused(lambda: codec.loads(s), codec.Damaged)) or said  # type: ignore[misc]
    if not said:
        raise Believed("no length was weighed")
    return said


def huge_report(folder: Path) -> str:
    line = b'{"app": "a", "wall_s": 1, "x": {"n": "' + b"y" * (1 << 20) + b'"}}'
    return spared(lambda: refused(lambda: parse_report(line, "report", 1, now=0.0)))


# -- pickles and other words that would run


def pickled_value(folder: Path) -> str:
    said = ""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        value = pickle.dumps(Bomb(folder), protocol)
        outcome = blocks.Outcome(block="b1", token=1, kind=blocks.DONE, value=value)
        finished = Finished(outcome=outcome, host="h1", seconds=1.0)
        said = refused(lambda f=finished: value_of(f), codec.Damaged)  # type: ignore[misc]
    return said


def pickled_error(folder: Path) -> str:
    """An exception by the name of something that runs."""
    said = ""
    for name in ("exec", "os.system", "SystemExit", "__import__"):
        outcome = blocks.Outcome(
            block="b1", token=1, kind=blocks.RAISED, error=name, text="boom", value=codec.dumps(("1",))
        )
        said = refused(lambda o=outcome: value_of(Finished(outcome=o, host="h1", seconds=1.0)))  # type: ignore[misc]
    return said


def pickled_answer(folder: Path) -> str:
    return refused(lambda: running._opened(pickle.dumps(Bomb(folder))))


def pickled_word(folder: Path) -> str:
    body = pickle.dumps(Bomb(folder))
    return refused(lambda: frames.read(io.BytesIO(struct.pack(">I", len(body)) + body), words.FromAgent))


def false_text(folder: Path) -> str:
    """Text that is none, in words and in answers."""
    body = b"\x81\xa1w\xa4\xff\xfe\xff\xfe"
    refused(lambda: frames.unpack(body, words.FromRunner))
    return refused(lambda: running._opened(body))


def false_types(folder: Path) -> str:
    body = msgspec.msgpack.encode({"block": ["b1"], "token": "newest", "kind": 7, "w": "Outcome"})
    return refused(
        lambda: msgspec.convert(msgspec.msgpack.decode(body), blocks.Outcome), msgspec.ValidationError
    )  # fmt: skip


def pickled_report(folder: Path) -> str:
    return refused(lambda: parse_report(pickle.dumps(Bomb(folder), 0), "report", 1, now=0.0))


def false_letters(folder: Path) -> str:
    """Names that would write on a terminal or into markup: shown as letters that do nothing."""
    from sidestep.console.headless import capsule  # noqa: PLC0415

    evil = "\x1b]0;owned\x07\x1b[2J[red]b1[/]"
    header = CapsuleHeader(host=evil, shard=evil, block=evil, function=evil)
    path = folder / "evil.capsule"
    path.write_bytes(framed(encoded(header), b"s" * 64))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        capsule.show(str(path), None, as_json=False)
    if "\x1b" in said.getvalue() or "\x07" in said.getvalue():
        raise Believed("control characters came through")
    return "shown without its control characters"


PICKLED: Final = "pickled results"
SPOILT: Final = "forged and flipped capsules"
REPLAYED: Final = "replayed tokens"
LENGTHS: Final = "10 GB headers"
ATTACKS: Final = (
    Attack(PICKLED, "a result that is a pickle", "conductor", "Damaged", pickled_value),
    Attack(PICKLED, "an exception by the name of a function", "conductor", "FunctionFailed: ", pickled_error),
    Attack(PICKLED, "an answer that is a pickle", "conductor", "no answer|no msgpack", pickled_answer),
    Attack(PICKLED, "an agent's word that is a pickle", "conductor", "cannot be read", pickled_word),
    Attack(PICKLED, "an answer whose text is none", "conductor", "no msgpack", false_text),
    Attack(PICKLED, "an outcome of other types", "conductor", "Expected", false_types),
    Attack(PICKLED, "a report that is a pickle", "daemon", "report", pickled_report),
    Attack(PICKLED, "a greeting that is a pickle", "runner", "a pickle from a worker was refused", runner("pickle")),
    Attack(
        PICKLED,
        "a value that names a pickled type",
        "runner",
        "a pickle from a worker was refused",
        runner("serialized"),
    ),
    Attack(PICKLED, "a greeting that is nothing", "runner", "FormatError", runner("garbage")),
    Attack(SPOILT, "each byte of a header flipped", "conductor", "refused", flipped),
    Attack(SPOILT, "a byte of a chunk flipped", "worker", "refused", flipped_chunk),
    Attack(SPOILT, "signed with another key", "conductor", "not signed by 'h1'", forged),
    Attack(SPOILT, "in another host's name", "conductor", "no key is known", in_anothers_name),
    Attack(SPOILT, "cut short", "conductor", "cut short", cut),
    Attack(SPOILT, "names that write on the terminal", "console", "without its control", false_letters),
    Attack(REPLAYED, "a capsule of another block", "conductor", "not of 'b2'", of_another_block),
    Attack(REPLAYED, "a capsule of an older token", "conductor", "token 3 for token 4", old_token),
    Attack(REPLAYED, "a capsule that was had before", "conductor", "had before", had_before),
    Attack(REPLAYED, "the result of an older token", "conductor", "stale", late_result),
    Attack(REPLAYED, "a second start", "worker", "not newer", second_start),
    Attack(LENGTHS, "a capsule's header", "console", "a header of 4294967295 bytes", huge_file),
    Attack(LENGTHS, "state in a header that is small", "conductor", "do not fit", huge_state),
    Attack(LENGTHS, "a frame of an agent", "conductor", "claims 4294967295 bytes", huge_frame),
    Attack(LENGTHS, "a list in a small frame", "conductor", "cannot be read", huge_list),
    Attack(LENGTHS, "a chunk that unpacks to it", "worker", "too large|cannot be unpacked|not what", huge_chunk),
    Attack(LENGTHS, "a value's columns", "conductor", "Damaged", huge_value),
    Attack(LENGTHS, "a report", "daemon", "report", huge_report),
    Attack(LENGTHS, "a message to the runner", "runner", "claims 10737418240 bytes", runner("huge")),
    Attack(LENGTHS, "a part of a message to the runner", "runner", "claims 10737418240 bytes", runner("huge part")),
    Attack(LENGTHS, "a packed message to the runner", "runner", "packed message", runner("packed")),
)
#: what nothing of ours does when it reads what others say
RUNS: Final = frozenset({"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})
_watching: list[list[str]] = []


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Whatever is run in this process meanwhile, by the interpreter's own account."""
    if not _watching:
        _watching.append([])
        sys.addaudithook(lambda event, _: _watching[-1].append(event) if event in RUNS else None)
    _watching.append(seen := [])
    yield seen
    _watching.append([])
