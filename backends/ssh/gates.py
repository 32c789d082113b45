"""How many handshakes may be under way: in all, and towards one address.

An sshd drops connections at random while too many of its peers have not logged in yet
(MaxStartups, 10 by default), which looks like a dead host. So each address has a gate of its
own, halved when a handshake is lost there although others succeed, and raised again slowly.
Pure: no clock, no I/O; whoever waits is let in first come, first served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from asyncssh import ConnectionLost

from sidestep.backends.ssh.target import SshTarget

TOTAL: Final = 32
PER_ADDRESS: Final = 8
#: how many handshakes that hang may stand aside, as a multiple of the total
ASIDE: Final = 4
#: successes in a row after which a gate that was halved lets one more in
RAISE_AFTER: Final = 8


class Gate:
    """Lets ``limit`` in at a time, the others in the order in which they came."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a gate of {limit} lets nobody in")
        self.limit = limit
        self.inside = 0
        #: made when somebody waits: most gates of a thousand addresses never see that
        self._waiting: deque[asyncio.Future[None]] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting or ())

    async def enter(self) -> None:
        """Wait for a place. Whoever is cancelled while waiting takes none."""
        if self.inside < self.limit and not self._waiting:
            self.inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = deque()
        waiting = self._waiting
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place had just been given to us
            elif turn in waiting:
                waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Give the place back."""
        self.inside -= 1
        self._let_in()

    def resize(self, limit: int) -> None:
        """Let another number in; those who are inside stay."""
        self.limit = max(1, limit)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.inside < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)


class Lane:
    """The gate of one address, and what it learned about that address."""

    def __init__(self, limit: int) -> None:
        self.gate = Gate(limit)
        self.most = limit
        #: handshakes that have ended, for telling those that began before the gate was halved
        self._ended = 0
        self._halved_at = 0
        self._in_a_row = 0
        self._succeeded = False

    def begun(self) -> int:
        """A mark of this moment, for ``lost``."""
        return self._ended

    def fine(self) -> None:
        """A handshake succeeded."""
        self._ended += 1
        self._succeeded = True
        self._in_a_row += 1
        if self._in_a_row >= RAISE_AFTER and self.gate.limit < self.most:
            self._in_a_row = 0
            self.gate.resize(self.gate.limit + 1)

    def lost(self, begun: int) -> bool:
        """A handshake was lost before it was done; halves the gate if others succeed. Whether it did.

        Several that were under way together count once.
        """
        self._ended += 1
        self._in_a_row = 0
        if not self._succeeded or begun < self._halved_at or self.gate.limit == 1:
            return False
        self._halved_at = self._ended
        self._succeeded = False
        self.gate.resize(self.gate.limit // 2)
        return True

    def failed(self) -> None:
        """A handshake failed in a way that says nothing about the gate."""
        self._ended += 1


class Permit:
    """One handshake's place in the gate of all."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self.aside = False

    def step_aside(self) -> bool:
        """Let somebody else begin while this one hangs; False while too many hang already.

        A host that does not answer costs nothing but its address: without this, a rack without
        power would keep the living ones waiting at the gate.
        """
        if not self.aside and self._gates.aside < self._gates.most_aside:
            self.aside = True
            self._gates.aside += 1
            self._gates.total.leave()
        return self.aside


class Gates:
    """The gate of all handshakes and one for every address."""

    def __init__(self, total: int = TOTAL, per_address: int = PER_ADDRESS) -> None:
        self.total = Gate(total)
        self.aside = 0
        self.most_aside = ASIDE * total
        self._per_address = per_address
        self._lanes: dict[str, Lane] = {}

    @asynccontextmanager
    async def handshake(self, address: str) -> AsyncIterator[Permit]:
        """A place for one handshake towards ``address``; what the body raises says how it went."""
        lane = self._lanes.setdefault(address, Lane(self._per_address))
        # The address first: those who wait for a slow one must not stand in everybody's way.
        await lane.gate.enter()
        try:
            await self.total.enter()
            permit, begun = Permit(self), lane.begun()
            try:
                yield permit
                lane.fine()
            except Exception as error:
                if lost_before_login(error):
                    lane.lost(begun)
                else:
                    lane.failed()
                raise
            finally:
                if permit.aside:
                    self.aside -= 1
                else:
                    self.total.leave()
        finally:
            lane.gate.leave()

    def limit(self, address: str) -> int:
        """How many handshakes that address gets at a time."""
        lane = self._lanes.get(address)
        return lane.gate.limit if lane else self._per_address


def lost_before_login(error: BaseException) -> bool:
    """Whether the other side hung up on a handshake, as an sshd with too many of them does."""
    cause = error.__cause__
    if isinstance(cause, ConnectionLost):
        return "timeout" not in str(cause).lower()
    return isinstance(cause, ConnectionResetError | BrokenPipeError | EOFError)


def lane_of(target: SshTarget) -> str:
    """Whom a handshake with this host burdens: the first jump host, or the host itself."""
    first = target.jumps[0] if target.jumps else target
    return f"{first.address} port {first.port}"
