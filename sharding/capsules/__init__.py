"""Capsules: the state of a function as signed, content-addressed chunks; full ones and what changed since."""

from sidestep.sharding.capsules.chunks import BadChunk
from sidestep.sharding.capsules.gate import Expected, Gate, Rejected
from sidestep.sharding.capsules.keys import HostKey, trusted
from sidestep.sharding.capsules.making import Chain, Made, Origin, live_of, whole
from sidestep.sharding.capsules.opening import opened, parts_of, state_of
from sidestep.sharding.capsules.platform import fingerprint
from sidestep.sharding.capsules.store import ChunkStore, MemoryChunks, Scrub

__all__ = [
    "BadChunk",
    "Chain",
    "ChunkStore",
    "Expected",
    "Gate",
    "HostKey",
    "Made",
    "MemoryChunks",
    "Origin",
    "Rejected",
    "Scrub",
    "fingerprint",
    "live_of",
    "opened",
    "parts_of",
    "state_of",
    "trusted",
    "whole",
]
