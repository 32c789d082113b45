"""What is said on the pipes: conductor and agent over SSH, conductor and runner, worker and seat.

Everything is msgpack of these types and nothing else; whoever reads checks the types.
Payloads are bytes that nobody but a seat opens.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

#: rises when agents, runners and seats of another version cannot understand each other
VERSION: Final = 1


class Word(Struct, frozen=True, tag=True, tag_field="w"):
    """Base: the word's name is its tag."""


# -- conductor to agent


class Welcome(Word, frozen=True):
    """Who the host is among the workers: its own address, and its certificate (PEM); on the channel only."""

    version: int
    name: str
    address: str
    authority: str
    certificate: str
    key: str
    threads: int


class PutSource(Word, frozen=True):
    """Source files by relative path; ``digest`` is the SHA-256 that ``sources.digest_of`` gives them."""

    digest: str
    files: dict[str, bytes]


class StartScheduler(Word, frozen=True):
    """Start a Dask scheduler on the host's own address."""

    number: int


class StartWorker(Word, frozen=True):
    """Start a Dask worker of a scheduler; one that still runs is ended first."""

    number: int
    scheduler: str


class Stop(Word, frozen=True):
    """End one engine process and all below it."""

    number: int


ToAgent = Welcome | PutSource | StartScheduler | StartWorker | Stop

# -- agent to conductor


class Ready(Word, frozen=True):
    """The agent is there: versions that have to match, and the public key (raw Ed25519) of this host's capsules."""

    version: int
    python: str
    sidestep: str
    distributed: str
    cores: int
    public: bytes


class Started(Word, frozen=True):
    """An engine process listens at an address."""

    number: int
    address: str


class Ended(Word, frozen=True):
    """An engine process has ended, with all below it."""

    number: int
    status: int
    tail: str


class HasSource(Word, frozen=True):
    """Source files are there."""

    digest: str


class Beat(Word, frozen=True):
    """The agent is alive; what its host has (in cores), since the last one: see ``vitals``. No cores: not looked."""

    cores: float = 0.0
    busy: float = 0.0
    ours: float = 0.0
    waited: float = 0.0


class Trouble(Word, frozen=True):
    """The agent cannot do what it was told."""

    text: str


FromAgent = Ready | Started | Ended | HasSource | Beat | Trouble

# -- conductor to runner


class Attach(Word, frozen=True):
    """Be the client of a scheduler; a former one is left."""

    number: int
    scheduler: str
    authority: str
    certificate: str
    key: str


class Ask(Word, frozen=True):
    """A short verb at one worker, on its event loop; never waits for a block."""

    number: int
    worker: str
    body: bytes


class Run(Word, frozen=True):
    """A verb as a task pinned to one worker: may take as long as a block does."""

    number: int
    worker: str
    body: bytes


class Carry(Word, frozen=True):
    """What ``take`` answers at one worker goes straight to ``put`` at another."""

    number: int
    source: str
    take: bytes
    target: str
    put: bytes


class Gone(Word, frozen=True):
    """A worker is lost: whatever was asked of it has failed."""

    worker: str


ToRunner = Attach | Ask | Run | Carry | Gone

# -- runner to conductor


class Answer(Word, frozen=True):
    """What came of a numbered request: bytes, or why there are none."""

    number: int
    body: bytes = b""
    error: str = ""


FromRunner = Answer
