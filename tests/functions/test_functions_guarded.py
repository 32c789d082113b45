"""What is refused before anything is opened: forged capsules, replayed tokens, lengths that lie, pickles."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st

from sidestep.backends.functions import capsules, frames, words
from sidestep.backends.functions.capsules import Keeper, Refused, Store, opened, restored
from sidestep.backends.functions.certificates import Authority
from sidestep.backends.functions.features import features
from sidestep.backends.functions.ledger import Ledger, Verdict
from sidestep.backends.functions.setup import new_signing_key, public_of
from sidestep.backends.functions.sources import bundle, digest_of, store_source
from sidestep.fleet.capsules import MAGIC
from sidestep.fleet.errors import ProtocolError, SidestepError, UsageError
from sidestep.sharding.capsules import Gate, Origin
from sidestep.sharding.codec import Encoded


@pytest.fixture
def kept(tmp_path: Path) -> tuple[capsules.Kept, Store, bytes]:
    """A capsule of block b1 by h1, its store and the host's signing key."""
    key, store = new_signing_key(), Store(tmp_path / "chunks")
    state = Encoded(b"stream", (np.arange(5000, dtype=np.float64).view(np.uint8),))
    return Keeper(store, key, Origin("h1", "b1", 3, program=b"p"), 0).keep(state), store, key


def test_a_capsule_comes_back_as_it_was(kept: tuple[capsules.Kept, Store, bytes]) -> None:
    """S2.24: what was captured is restored byte for byte, from chunks that are checked."""
    made, store, key = kept
    sealed = opened(made.sealed, Gate({"h1": public_of(key)}), block="b1", program=b"p", here=True)
    state = restored(sealed.header, store)
    assert state.stream == b"stream"
    assert state.buffers[0].tobytes() == np.arange(5000, dtype=np.float64).tobytes()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "refused"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "not signed"),
        (lambda data: MAGIC + struct.pack("<I", 10 << 30 & 0xFFFFFFFF or 0xFFFFFFFF) + data[12:], "refused"),
        (lambda data: data[:40], "cut short"),
    ],
)
def test_a_flipped_or_cut_capsule_is_refused_by_name(
    kept: tuple[capsules.Kept, Store, bytes], spoil: Callable[[bytes], bytes], why: str
) -> None:
    """S2.26: any changed byte of a header is seen before anything in it is believed."""
    made, _, key = kept
    with pytest.raises(Refused, match=why):
        opened(spoil(made.sealed), Gate({"h1": public_of(key)}), block="b1")


def test_capsules_of_others_and_of_old_are_refused(kept: tuple[capsules.Kept, Store, bytes]) -> None:
    """S2.22, S2.27: another host's key, another block, another program, a token or number that was had before."""
    made, _, key = kept
    public = public_of(key)
    with pytest.raises(Refused, match="not signed by"):
        opened(made.sealed, Gate({"h1": public_of(new_signing_key())}), block="b1")
    with pytest.raises(Refused, match="no key is known"):
        opened(made.sealed, Gate({"h2": public}), block="b1")
    with pytest.raises(Refused, match="b1"):
        opened(made.sealed, Gate({"h1": public}), block="b2")
    with pytest.raises(Refused, match="another program"):
        opened(made.sealed, Gate({"h1": public}), block="b1", program=b"q")
    with pytest.raises(Refused, match="older than 4"):
        opened(made.sealed, Gate({"h1": public}, {"b1": (4, 0)}), block="b1")
    with pytest.raises(Refused, match="had before"):
        opened(made.sealed, Gate({"h1": public}, {"b1": (3, 1)}), block="b1")


def test_false_chunks_are_refused_and_none_of_their_company_is_kept(
    kept: tuple[capsules.Kept, Store, bytes], tmp_path: Path
) -> None:
    """S2.25: a chunk is what its name says, or nothing of what came with it is stored."""
    made, store, _ = kept
    names = made.header.names()
    given = dict(zip(names, store.records(names), strict=True))
    other = Store(tmp_path / "other")
    last = names[-1]
    with pytest.raises(Refused, match=last.hex()):
        other.take({**given, last: given[last][:-1] + bytes([given[last][-1] ^ 1])})
    with pytest.raises(Refused, match="not what its name says"):
        other.take({names[0]: given[last]})
    with pytest.raises(Refused, match="calls itself"):
        other.take({last: names[0] + given[last][16:]})
    assert other.have(names) == []
    assert other.take(given) > 0
    assert set(other.have(names)) == set(names)


def test_a_length_that_lies_costs_nothing() -> None:
    """A frame that claims 4 GB is refused by its four bytes; so is one that ends early, or is no word."""
    with pytest.raises(ProtocolError, match="claims 4294967295 bytes"):
        frames.read(io.BytesIO(b"\xff\xff\xff\xff" + b"x" * 10), words.FromAgent)
    with pytest.raises(ProtocolError, match="ended inside"):
        frames.read(io.BytesIO(b"\0\0\0\x09abc"), words.FromAgent)
    with pytest.raises(ProtocolError, match="cannot be read"):
        frames.read(io.BytesIO(frames.pack(words.Beat())), words.ToAgent)
    assert frames.read(io.BytesIO(b""), words.FromAgent) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_word_or_refused(data: bytes) -> None:
    """No bytes on a pipe raise anything but ProtocolError."""
    for kind in (words.ToAgent, words.FromAgent, words.ToRunner, words.FromRunner):
        try:
            frames.unpack(data, kind)
        except ProtocolError:
            continue


@given(st.lists(st.tuples(st.sampled_from(["give", "beside", "void", "commit"]), st.integers(1, 6), st.booleans())))
def test_one_result_is_taken_and_only_of_a_token_that_is_not_void(steps: list[tuple[str, int, bool]]) -> None:
    """S2.20, S2.22, S2.27: tokens only rise; a void one commits nothing; what comes second is compared."""
    ledger, valid, given_, taken = Ledger(), set(), 0, None
    for verb, token, other in steps:
        if verb in {"give", "beside"}:
            new = ledger.give("b", "h", beside=verb == "beside")
            assert new == given_ + 1
            given_ = new
            valid = {*valid, new} if verb == "beside" else {new}
        elif verb == "void":
            ledger.void("b", token)
            valid.discard(token)
        else:
            digest = b"x" if other else b"y"
            verdict = ledger.commit("b", token, digest)
            if token not in valid:
                assert verdict is Verdict.STALE
            elif taken is None:
                assert verdict is Verdict.TAKEN
                taken = digest
            else:
                assert verdict is (Verdict.REPEATED if digest == taken else Verdict.DIFFERS)


SEALED = """
import os, pickle, sys
from sidestep.backends.functions import sealed
sealed.seal()
import distributed.client, distributed.protocol
from distributed.protocol import deserialize, loads
from distributed.protocol.core import dumps
from distributed.protocol.serialize import ToPickle

class Bomb:
    def __reduce__(self):
        return (os.mkdir, (sys.argv[1],))

blob = pickle.dumps(Bomb())
for name, get in {
    "type of a result": lambda: distributed.client.loads(blob),
    "control frame": lambda: loads(dumps({"op": ToPickle(Bomb())})),
    "result": lambda: deserialize({"serializer": "pickle"}, [blob], deserializers=["msgpack", "error"]),
    "exception": lambda: deserialize({"serializer": "pickle"}, [blob]),
    "pickle itself": lambda: pickle.loads(blob),
}.items():
    try:
        print(name, type(get()).__name__)
    except Exception as error:
        print(name, type(error).__name__)
print(os.path.exists(sys.argv[1]))
"""


def test_a_sealed_process_unpickles_nothing(tmp_path: Path) -> None:
    """The runner: results, types of results, exceptions and control frames that are pickles run no code there."""
    marker = str(tmp_path / "exploded")
    said = subprocess.run([sys.executable, "-c", SEALED, marker], capture_output=True, text=True, check=True).stdout
    lines = said.splitlines()
    assert len(lines) == 6 and lines[-1] == "False"
    assert all(line.endswith(("Unreadable", "TypeError", "dict")) for line in lines[:-1]), lines
    assert not Path(marker).exists()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(_Probe()))


class _Probe:
    """The control: without the seal such a pickle does run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.stat, ("/nowhere/at/all",)


def test_certificates_are_of_one_fleet_and_name_the_address() -> None:
    """Members of one authority; the key never shows in a repr."""
    authority = Authority("a")
    member = authority.member("h1", "127.0.0.9")
    certificate = x509.load_pem_x509_certificate(member.certificate.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem.encode()))
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(Authority("a").pem.encode()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.9"]
    assert member.key not in repr(member)


def test_a_bundle_holds_what_a_file_imports_from_beside_it(tmp_path: Path) -> None:
    """Imports are read, not run; relative ones and packages too; digests go by content; paths stay inside."""
    (tmp_path / "pkg").mkdir()
    for name, text in {
        "main.py": "import os, pkg.one\nfrom other import thing\nraise SystemExit('never imported')",
        "other.py": "thing = 1",
        "unused.py": "x = 1",
        "pkg/__init__.py": "",
        "pkg/one.py": "from . import two\nfrom .. import nothing",
        "pkg/two.py": "y = 2",
    }.items():
        (tmp_path / name).write_text(text)
    source = bundle(tmp_path / "main.py")
    assert set(source.files) == {"main.py", "other.py", "pkg/__init__.py", "pkg/one.py", "pkg/two.py"}
    assert source.module == "main" and source.digest == digest_of(dict(reversed(source.files.items())))
    place = store_source(tmp_path / "sources", source.digest, source.files)
    assert (place / "pkg" / "two.py").read_text() == "y = 2"
    evil = {"../evil.py": b""}
    with pytest.raises(SidestepError, match="outside its folder"):
        store_source(tmp_path / "sources", digest_of(evil), evil)
    assert not (tmp_path / "evil.py").exists()
    (tmp_path / "broken.py").write_text("def")
    with pytest.raises(UsageError, match=r"broken\.py cannot be read as Python"):
        bundle(tmp_path / "broken.py")


def test_features_say_what_an_input_is_like() -> None:
    """S1.2: numbers, kinds, lengths and bytes, at most sixteen."""
    found = features(["n", "kind", "rows", "data"], [3, "png", [1, 2], np.zeros((2, 3))], {"flag": True})
    assert found == {
        "n": 3.0, "kind": "png", "kind.len": 3.0, "rows.len": 2.0, "data.size": 6.0, "data.bytes": 48.0, "flag": 1.0,
    }  # fmt: skip
    assert len(features([], list(range(100)), {})) == 16
    assert msgspec.json.encode(features([], [float("inf"), 10**400], {})) == b"{}"
