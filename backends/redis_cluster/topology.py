"""What a cluster is, from the words of its nodes: members, who has which slot, and which slots are half moved. Pure.

A node tells its own half-moved slots only, so a view is made from the answers of all of them. Where they differ on
the owner of a slot, the claim with the highest configuration epoch counts, as it does among the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.backends.redis_cluster.ranges import SLOTS, Range, ranges
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub

#: of slots without an owner
NOBODY: Final = -1
Owners = NDArray[np.int16]


class Member(Struct, frozen=True, kw_only=True):
    """One node as the cluster knows it. ``id`` is what it is called for ever; addresses may change."""

    id: str
    host: str
    port: int
    epoch: int
    master: bool
    #: the id of its master; "" for a master
    of: str = ""
    #: the others agree that it is gone
    failed: bool = False
    #: some doubt that it is there
    doubted: bool = False
    linked: bool = True
    #: it answered us
    answers: bool = True

    @property
    def name(self) -> Label:
        """``HOST:PORT``."""
        return scrub(f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")

    @property
    def alive(self) -> bool:
        """Whether something can be asked of it."""
        return self.answers and not self.failed


class Half(Struct, frozen=True, order=True):
    """A slot that some node has marked: ``migrating`` away from it, or ``importing`` to it."""

    slot: int
    #: who has marked it
    at: str
    way: str
    #: the other end
    peer: str


class Told(Struct, frozen=True, kw_only=True):
    """What one node said: ``CLUSTER NODES``, parsed."""

    me: str
    members: tuple[Member, ...]
    #: slots of each member, by id
    slots: Mapping[str, tuple[Range, ...]]
    halves: tuple[Half, ...] = ()


class View(Struct, frozen=True, kw_only=True):
    """A whole cluster. ``owners``: int16[16384], index into ``masters`` of who has the slot, or ``NOBODY``."""

    members: tuple[Member, ...]
    owners: Owners
    halves: tuple[Half, ...] = ()
    #: slots about whose owner nodes differ
    disputed: tuple[int, ...] = ()
    #: slots that all others give to a master which itself says that nobody has them
    disowned: tuple[int, ...] = ()
    #: every node that answered says ``cluster_state:ok``, but for those that import from one that is lost
    ok: bool = False

    @property
    def masters(self) -> tuple[Member, ...]:
        """In the order of ``owners``."""
        return tuple(one for one in self.members if one.master)

    def by_id(self, id: str) -> Member | None:
        """The member of that id."""
        return next((one for one in self.members if one.id == id), None)

    def owner(self, slot: int) -> Member | None:
        """Who has that slot."""
        at = int(self.owners[slot])
        return None if at == NOBODY else self.masters[at]

    def slots_of(self, id: str) -> tuple[int, ...]:
        """The slots of a master, in order."""
        ids = [one.id for one in self.masters]
        return tuple(np.flatnonzero(self.owners == ids.index(id)).tolist()) if id in ids else ()

    def shards(self) -> tuple[tuple[Range, Member], ...]:
        """Every contiguous range with its owner, in the order of slots: the data shards of this cluster."""
        found = [(part, one) for one in self.masters for part in ranges(self.slots_of(one.id))]
        return tuple(sorted(found, key=lambda pair: pair[0]))

    def replicas(self, id: str) -> tuple[Member, ...]:
        """The replicas of a master."""
        return tuple(one for one in self.members if one.of == id)

    def heir(self, *ids: str) -> Member | None:
        """The living master that one of these nodes is, or is a replica of; the first that there is."""
        for id in ids:
            one = self.by_id(id)
            if one is not None and not one.master:
                one = self.by_id(one.of)
            if one is not None and one.master and one.alive:
                return one
        return None


def told(text: str) -> Told:
    """What ``CLUSTER NODES`` says. Raises SidestepError for what it never says."""
    me, members, slots, halves = "", list[Member](), dict[str, tuple[Range, ...]](), list[Half]()
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        try:
            flags = set(words[2].split(","))
            if "noaddr" in flags and "myself" not in flags:
                continue  # a node whose address is forgotten; it is asked under its new one
            if "handshake" in flags:
                continue
            host, port = _address(words[1])
            one = Member(
                id=_id(words[0]), host=host, port=port, epoch=int(words[6]), master="master" in flags,
                of="" if words[3] == "-" else _id(words[3]), failed="fail" in flags, doubted="fail?" in flags,
                linked=words[7] == "connected",
            )  # fmt: skip
            plain = [word for word in words[8:] if not word.startswith("[")]
            slots[one.id] = tuple(_range(word) for word in plain)
            if "myself" in flags:
                me = one.id
                halves += [_half(word, one.id) for word in words[8:] if word.startswith("[")]
            members.append(one)
        except (IndexError, ValueError) as error:
            raise SidestepError(f"a node describes its cluster as nobody does: {scrub(line)}") from error
    if not me:
        raise SidestepError(f"a node does not know itself: {scrub(text)}")
    return Told(me=me, members=tuple(members), slots=slots, halves=tuple(halves))


def view(answers: Iterable[tuple[Told, bool]]) -> View:
    """The whole from every node's words and whether it says that the cluster is well. At least one."""
    every = sorted(answers, key=lambda pair: pair[0].me)
    speaks = {one.me for one, _ in every}
    members = _members([one for one, _ in every], speaks)
    masters = [one.id for one in members if one.master]
    epochs = np.full(SLOTS, -1, dtype=np.int64)
    owners: Owners = np.full(SLOTS, NOBODY, dtype=np.int16)
    claims = list[Owners]()
    for one, _ in every:
        said: Owners = np.full(SLOTS, NOBODY, dtype=np.int16)
        known = {member.id: member for member in one.members}
        for id, parts in one.slots.items():
            if id not in masters:
                continue
            for part in parts:
                said[part.first : part.last + 1] = masters.index(id)
                piece = slice(part.first, part.last + 1)
                # a node's own word of itself is the newest there is
                epoch = known[id].epoch * 2 + (one.me == id)
                newer = epochs[piece] < epoch
                owners[piece][newer] = masters.index(id)
                epochs[piece][newer] = epoch
        claims.append(said)
    none = np.zeros(SLOTS, dtype=bool)
    for (one, _), said in zip(every, claims, strict=True):
        if one.me in masters:
            none |= (owners == masters.index(one.me)) & (said == NOBODY)
    differs = np.any([said != owners for said in claims], axis=0)
    halves = sorted({half for one, _ in every for half in one.halves})
    lost = {one.id for one in members if one.failed}
    # who imports from a lost node keeps to it, and calls the cluster down until the slot is put right
    stuck = {half.at for half in halves if half.way == "importing" and half.peer in lost}
    well = all(ok for one, ok in every if one.me not in stuck) and bool((owners != NOBODY).all())
    return View(
        members=tuple(members), owners=owners, halves=tuple(halves), ok=well,
        disputed=tuple(np.flatnonzero(differs).tolist()), disowned=tuple(np.flatnonzero(none).tolist()),
    )  # fmt: skip


def _members(every: Sequence[Told], speaks: set[str]) -> list[Member]:
    """Every member once: in its own words where it answered, else in those of who knows it by the highest epoch."""
    best: dict[str, Member] = {}
    failed = {one.id for said in every for one in said.members if one.failed and one.id not in speaks}
    for said in every:
        for one in said.members:
            if one.id == said.me or (
                one.id not in speaks and (one.id not in best or best[one.id].epoch <= one.epoch)
            ):  # fmt: skip
                best[one.id] = one
    found = [
        Member(
            id=one.id, host=one.host, port=one.port, epoch=one.epoch, master=one.master, of=one.of,
            failed=one.id in failed, doubted=one.doubted, linked=one.linked, answers=one.id in speaks,
        )
        for one in best.values()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (not one.master, one.host, one.port, one.id))


def _id(word: str) -> str:
    if len(word) != 40 or not word.isalnum() or not word.isascii():
        raise ValueError(word)
    return word


def _address(word: str) -> tuple[str, int]:
    """Of ``IP:PORT@BUS,HOSTNAME,...``; what follows the comma is not used."""
    host, _, port = word.partition(",")[0].partition("@")[0].rpartition(":")
    return str(scrub(host)), int(port)


def _range(word: str) -> Range:
    first, _, last = word.partition("-")
    found = Range(int(first), int(last or first))
    if not 0 <= found.first <= found.last < SLOTS:
        raise ValueError(word)
    return found


def _half(word: str, at: str) -> Half:
    """Of ``[SLOT->-ID]`` (migrating) and ``[SLOT-<-ID]`` (importing)."""
    inner = word[1:-1]
    for sign, way in (("->-", "migrating"), ("-<-", "importing")):
        slot, found, peer = inner.partition(sign)
        if found and 0 <= int(slot) < SLOTS:
            return Half(int(slot), at, way, _id(peer))
    raise ValueError(word)
