"""A shell that stands ready on a host while a shard is moved: an operation is a round trip, not a session and a start.

While a shard stands still users wait for every session that is opened, every shell that starts and every text that it
reads. So before that the texts of all operations are brought to both hosts once, to a shell that runs them as they
are called, each in a process of its own. Nothing depends on it: where there is none, or where it is lost, an operation
is sent whole, as ever, and as operations may be repeated that is no harm.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from sidestep.backends.ssh.base import Channel, Completed, Transport
from sidestep.backends.ssh.carry import shell
from sidestep.fleet.errors import HostError, HostUnreachable

#: seconds that a host has to get ready, and in which its shell is ended
PATIENCE: Final = 5.0
#: seconds after which one that nobody ended is ended: a move that was given up
LIFE: Final = 900.0
#: standing shells of one host: the sessions of a connection are few
MOST: Final = 2
_LINE: Final = 1 << 20
_STDERR: Final = 64 << 10
#: Takes the texts, says its number, and then runs programs: each begins with a mark, and ends with it. A program that
#: does not come whole is not run. What it says is said at once; its complaints follow, between marks. One that fails
#: may not have read what it was given: that is never taken for programs, since nothing is read any more.
_LOOP: Final = """\
IFS= read -r size && eval "$(head -c "$size")" || exit 9
exec 3>&1
echo "standing $$"
while IFS= read -r mark; do
    text=''
    while IFS= read -r line && [ "$line" != "$mark" ]; do text="$text$line
"; done
    [ "$line" = "$mark" ] || exit 0
    complaints=$( (read -r self _ </proc/self/stat; eval "$text") 2>&1 >&3 3>&-)
    status=$?
    printf '\\n%s %s\\n%s\\n%s\\n' "$mark" "$status" "$complaints" "$mark"
    case $mark in give-*) [ "$status" = 0 ] || exit 0 ;; esac
done
exit 0
"""
_ending: set[asyncio.Task[None]] = set()


class ShellLost(Exception):
    """The shell is not there any more; what it was running may have been done or not."""


class _Busy(ShellLost):
    """It is there, but with other things to do."""


class StandingShell:
    """One of them, on one host; ``stand`` is the only maker. Runs one program at a time."""

    def __init__(self, transport: Transport, channel: Channel, pid: int) -> None:
        self._transport, self._channel, self._pid = transport, channel, pid
        self._turn = asyncio.Lock()
        self._ended = False
        #: of the program that is under way in stages: its mark, and what has not been asked for yet
        self._mark, self._stages = b"", list[str]()
        self._limit = asyncio.get_running_loop().call_later(LIFE, self.end)

    @property
    def ready(self) -> bool:
        """Whether it takes programs."""
        return not self._ended

    def awaits(self, stage: str) -> bool:
        """Whether that is the next stage of the program that is under way."""
        return self.ready and self._stages[:1] == [stage]

    async def run(self, program: bytes, *, timeout: float, give: bytes = b"", take: int = 0) -> Completed:
        """Run a program to its end; ``give`` is its standard input.

        With ``take`` it may say a line ``raw=N``, and after it N bytes, no more than that, which are returned as its
        output. Raises ShellLost, HostUnreachable, and HostError when it has not ended in time: then it is killed.
        """
        async with self._told(timeout):
            if self._stages:  # of which somebody else waits for the end
                raise _Busy
            mark = await self._begin(program, give)
            return await self._answer(mark, "", take)

    async def begin(self, program: bytes, stages: Sequence[str], *, timeout: float, give: bytes = b"") -> None:
        """Have a program run that says a line ``stage=NAME`` after each of these but the last. Raises as ``run``."""
        async with self._told(timeout):
            if self._stages:
                raise _Busy
            self._mark, self._stages = await self._begin(program, give), list(stages)

    async def stage(self, *, timeout: float, take: int = 0) -> Completed:
        """What the program that is under way said in its next stage, once that is over. Raises as ``run``.

        A program ends with the first stage that fails.
        """
        async with self._told(timeout):
            if not self._stages:
                raise _Busy
            name = self._stages.pop(0)
            return await self._answer(self._mark, name if self._stages else "", take)

    @asynccontextmanager
    async def _told(self, timeout: float) -> AsyncIterator[None]:
        """Being asked something, and what becomes of the shell where it does not answer."""
        async with self._turn:
            if self._ended:
                raise ShellLost
            try:
                async with asyncio.timeout(timeout):
                    yield
            except _Busy:
                raise
            except TimeoutError as error:
                self.end(kill=True)
                raise HostError(
                    self._transport.host, "run", f"did not end within {timeout:g} s and was killed"
                ) from error
            except HostUnreachable:
                self.end()
                raise
            except (HostError, ValueError) as error:
                self.end(kill=True)
                raise ShellLost from error
            except BaseException:  # raised again: whatever ended us ends the program, too
                self.end(kill=True)
                raise

    async def _begin(self, program: bytes, give: bytes) -> bytes:
        mark = b"give-" * bool(give) + secrets.token_hex(16).encode()
        await self._channel.write(b"%s\n%s\n%s\n%s" % (mark, program.rstrip(b"\n"), mark, give))
        return mark

    async def _answer(self, mark: bytes, stage: str, take: int) -> Completed:
        said, raw = bytearray(), bytearray()
        while not (line := await self._line()).startswith(mark):
            if stage and line == b"stage=%s\n" % stage.encode():
                return Completed(0, bytes(said), b"")
            if take and line.startswith(b"raw="):
                size = int(line[4:])
                if not 0 <= size <= take:
                    raise ValueError(size)
                while len(raw) < size:
                    raw += await self._bytes(size - len(raw))
            else:
                said += line
        self._stages.clear()
        status = int(line[len(mark) :])
        complaints = bytearray()
        while (line := await self._line()) != mark + b"\n":
            complaints += line
            del complaints[:-_STDERR]
        if status and mark.startswith(b"give-"):
            self.end()
        return Completed(status, bytes(raw if take and status == 0 else said[:-1]), bytes(complaints))

    async def _line(self) -> bytes:
        if line := await self._channel.readline(_LINE):
            return line
        raise ShellLost

    async def _bytes(self, count: int) -> bytes:
        if data := await self._channel.read(count):
            return data
        raise ShellLost

    def end(self, *, kill: bool = False) -> None:
        """Be done with it, in the background. What it runs goes on to its end, unless it is killed."""
        if self._ended:
            return
        self._ended = True
        self._limit.cancel()
        _later(self._end(kill))

    async def _end(self, kill: bool) -> None:
        with suppress(HostError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                if kill:
                    # When the server gave it no group of its own, -pid names nothing, and only it is hit.
                    hit = f"kill -s {{0}} -- -{self._pid} 2>/dev/null || kill -s {{0}} {self._pid} 2>/dev/null"
                    await self._transport.run(f"{hit.format('TERM')}\nsleep 0.3 || sleep 1\n{hit.format('KILL')}\n:")
        with suppress(HostError):
            await self._channel.aclose()


async def stand(transport: Transport, texts: Mapping[str, str], common: str) -> StandingShell | None:
    """A shell on that host which has read ``common``, and ``texts`` as functions; None where there is to be none."""
    whole = common + "".join(f"{name}() {{\n{text}\nmain\n}}\n" for name, text in texts.items())
    said = whole.encode()
    channel: Channel | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            channel = await transport.open(shell(_LOOP))
            await channel.write(b"%d\n" % len(said) + said)
            while (line := await channel.readline(_LINE)) and not line.startswith(b"standing "):
                pass  # a host's shell may greet
            if line:
                return StandingShell(transport, channel, int(line.split()[1]))
    except (HostError, ValueError, TimeoutError):
        pass  # operations are sent whole, then
    except BaseException:
        if channel is not None:
            _later(channel.aclose())
        raise
    if channel is not None:
        _later(channel.aclose())
    return None


def _later(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _ending.add(task)
    task.add_done_callback(_ending.discard)


class Stands:
    """The standing shells of the moves that are under way, two for each: at the source and at the destination."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], StandingShell] = {}

    def of(self, key: str, host: str) -> StandingShell | None:
        """The one of that move on that host, if there is one."""
        found = self._of.get((key, host))
        return found if found is not None and found.ready else None

    async def ready(self, key: str, transports: Iterable[Transport], texts: Mapping[str, str], common: str) -> None:
        """Have one on each of these hosts, unless there are enough of others already. Raises nothing."""
        self._of = {known: one for known, one in self._of.items() if one.ready}
        held = Counter(host for _, host in self._of)
        wanted = {end.host: end for end in transports if held[end.host] < MOST and self.of(key, end.host) is None}
        for host, one in zip(
            wanted, await asyncio.gather(*(stand(end, texts, common) for end in wanted.values())), strict=True
        ):
            if one is not None:
                self._of[key, host] = one

    def end(self, key: str) -> None:
        """Those of that move are not needed any more."""
        for known in [known for known in self._of if known[0] == key]:
            self._of.pop(known).end()
