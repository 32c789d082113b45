"""A block and what came of it: what conductor, worker and seat say of one execution.

A *block* is one call of a function, or one resumption of it from a capsule. Its *token* is the
fencing token of its placement: a worker refuses a token that is not newer than the last it saw for
the block, and the conductor takes one result, of the newest token it gave.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from sidestep.backends.functions.words import Word


class Job(Word, frozen=True, kw_only=True):
    """One execution of a block. ``args`` are in the codec of ``sharding.codec``; so is what a capsule holds."""

    block: str
    token: int
    #: where the function is: digest of the source files, module, name
    source: str
    module: str
    function: str
    args: bytes = b""
    #: the manifest of the capsule to resume from, as its keeper signed it; its chunks are in the worker's store
    capsule: bytes = b""
    #: public keys (raw Ed25519) of the hosts whose capsules are believed
    trusted: dict[str, bytes] = msgspec.field(default_factory=dict)
    #: the sequence number that its capsules go on from
    sequence: int = 0
    #: seconds of work that may be lost: the block keeps capsules by itself, twice as often; 0 is never
    every: float = 0.0
    #: other workers that may run shards of its loops, and the cores that are free there
    peers: tuple[tuple[str, float], ...] = ()
    #: what the host signs capsules with; put in by its own worker, never sent between hosts
    signing: bytes = b""
    host: str = ""
    #: whether loops are sharded whatever is predicted (tests, benchmarks)
    force: bool = False


#: how an execution ends: a result, an exception of the function, a capsule, or a refusal of ours
DONE: Final = "done"
RAISED: Final = "raised"
SUSPENDED: Final = "suspended"
REFUSED: Final = "refused"
#: the seat ended without a word (killed, out of memory)
DIED: Final = "died"


class Outcome(Word, frozen=True, kw_only=True):
    """How one execution ended. ``value`` is the result, or the exception's arguments, in the codec."""

    block: str
    token: int
    kind: str
    value: bytes = b""
    #: of an exception: its type's name, what it says, and where in the function's source it was raised
    error: str = ""
    text: str = ""
    trace: str = ""
    #: of a suspension: the capsule's manifest, and the chunks that the last one kept did not have, if they are few
    capsule: bytes = b""
    delta: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    #: the bytes of them that went straight to where the block is to go on
    sent: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    max_rss: int = 0
    #: loops that ran as shards, bytes sent and received for them, and why others did not
    sharded: int = 0
    shard_bytes: int = 0
    fallbacks: tuple[str, ...] = ()


class Kept(Word, frozen=True, kw_only=True):
    """A capsule that a running block kept: its manifest; its chunks are in the worker's store."""

    block: str
    token: int
    capsule: bytes
    #: unix time of the capture; bytes that were new in the store
    at: float
    fresh: int


class Captured(Word, frozen=True):
    """A wish was met: a capsule of this moment is being written, and is told of when it is."""


class CannotStop(Word, frozen=True):
    """Why a wish to stop or to keep came to nothing."""

    why: str


class Began(Word, frozen=True):
    """The seat computes; ``unsuited`` is why it cannot be suspended."""

    pid: int
    unsuited: str = ""


class ShardsWanted(Word, frozen=True):
    """Payloads of ``sharding.execute.contract`` that the block wants run elsewhere."""

    payloads: tuple[bytes, ...]


class ShardsDone(Word, frozen=True):
    """Their results in order, or why there are none."""

    results: tuple[bytes, ...] = ()
    error: str = ""


class Shard(Word, frozen=True):
    """One payload for a seat that runs nothing else."""

    payload: bytes


class ShardResult(Word, frozen=True):
    """What came of it."""

    result: bytes = b""
    error: str = ""


class Prepare(Word, frozen=True):
    """Get ready for a block that is to come: its module, and the chunks of a capsule that went ahead, if any."""

    block: str
    source: str
    module: str
    function: str
    capsule: bytes = b""
    trusted: dict[str, bytes] = msgspec.field(default_factory=dict)


class Arrive(Word, frozen=True):
    """A capsule of a block that is to come, and those of its chunks that did not go ahead; the last one is decoded."""

    capsule: bytes
    trusted: dict[str, bytes]
    delta: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    last: bool = True


class Prepared(Word, frozen=True):
    """The seat is ready for the block, or cannot be."""

    pid: int
    error: str = ""


class Suspend(Word, frozen=True):
    """Stop at the next safepoint."""


class Keep(Word, frozen=True):
    """Keep a capsule at the next safepoint, and go on."""


class Withdraw(Word, frozen=True):
    """Never mind the last wish."""


ToSeat = Job | Prepare | Arrive | ShardsDone | Shard | Suspend | Keep | Withdraw
FromSeat = Began | Prepared | Captured | CannotStop | Kept | Outcome | ShardsWanted | ShardResult


class BlockStatus(Struct, frozen=True, kw_only=True):
    """A block that a worker runs now: ``capsule`` is the manifest of the last one kept."""

    block: str
    token: int
    seconds: float
    cpu_s: float
    capsule: bytes = b""
    #: seconds since it was captured, and bytes that were new in it
    age: float = 0.0
    fresh: int = 0
    #: why the block can never be suspended, if it was seen that it cannot
    unsuited: str = ""
    #: why the last wish for a capsule came to nothing; the next one may not
    failed: str = ""
    #: whether a capsule newer than the last one kept is being written
    writing: bool = False
