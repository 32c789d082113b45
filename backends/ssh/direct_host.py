"""The host's half of a direct transfer; sent to both hosts over standard input, never imported there.

Needs python3 (3.6 or newer) and its standard library only. One of the two receives: it
listens, lets in exactly the one peer whose certificate it was given, writes to a file without
a name and links it in place when it is told to. The other connects and sends. Either ends, and
leaves nothing, when its standard input ends, when its deadline passes and when it is killed.
"""

import contextlib
import hashlib
import json
import mmap
import os
import queue
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from typing import Any

#: what is decrypted, digested and written at a time: it stays in the processor's cache for all three
BLOCK = 256 << 10
BLOCKS = 8
HEAD = struct.Struct("!Q")
#: how the two processes that receive count bytes of a block
COUNT = struct.Struct("!I")
LINE = 4096
HANDSHAKE = 5.0
STRANGERS = 20
AGAIN, LEAVING = 0.1, 50  # seconds after which the signal to end is sent again, and how often


class Refused(Exception):
    """What is said to the controller instead of a result."""


class Unreached(Refused):
    """The other cannot be reached from here."""


def say(kind: str, *words: object) -> None:
    """One line to the controller."""
    os.write(1, (json.dumps([kind, *words]) + "\n").encode())


def take(count: int) -> bytes:
    """Exactly so many bytes of standard input."""
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            os._exit(98)
        data += more
    return data


def leave_with_input(decided: Any) -> None:
    """Wait for the controller's words; its silence ends us."""
    while True:
        word = os.read(0, 1)
        decided.put(word)
        if not word:
            leave()
        if word != b"g":
            return


def leave() -> None:
    """End, cleaning up. Again and again: a signal just before the main thread begins to wait does not wake it."""
    for _ in range(LEAVING):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(AGAIN)
    os._exit(98)


def left(number: int, _frame: object, leaving: Any = []) -> None:  # noqa: B006 - one list, on purpose
    """Leave with the first signal; the ones after it must not disturb the cleaning up."""
    if not leaving:
        leaving.append(number)
        sys.exit(128 + number)


def secret(text: str) -> Any:
    """A path that gives ``text`` once: keys are never written to a disk."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    return reading, "/proc/self/fd/%d" % reading


def context(server: bool, settings: Any) -> ssl.SSLContext:
    """TLS 1.2 with AES-128-GCM, and one certificate that is accepted."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    if hasattr(ssl, "TLSVersion"):
        made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        made.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1 | getattr(ssl, "OP_NO_TLSv1_3", 0)
    made.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    made.load_verify_locations(cadata=settings["peer"])
    certificate, key = secret(settings["certificate"]), secret(settings["key"])
    made.load_cert_chain(certificate[1], key[1])
    os.close(certificate[0])
    os.close(key[0])
    return made


def known(tls: Any, settings: Any) -> None:
    """Refuse a peer with another certificate than the one we were given."""
    if tls.getpeercert(True) != ssl.PEM_cert_to_DER_cert(settings["peer"]):
        raise Refused("the peer shows another certificate")


class Pipe:
    """TLS in big pieces: one system call for many records instead of one or two for each."""

    def __init__(self, sock: socket.socket, server: bool, settings: Any) -> None:
        self.sock = sock
        sock.settimeout(HANDSHAKE)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context(server, settings).wrap_bio(self.incoming, self.outgoing, server_side=server)
        self.raw = memoryview(bytearray(BLOCK))
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                if not self.fill():
                    raise Refused("the peer hung up") from None
        self.flush()
        known(self.tls, settings)
        sock.settimeout(settings["silence"])

    def flush(self) -> None:
        """Send what is encrypted."""
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def fill(self) -> bool:
        """Receive what there is; whether there was anything."""
        count = self.sock.recv_into(self.raw)
        self.incoming.write(self.raw[:count])
        return count > 0

    def write(self, data: Any) -> None:
        """Encrypt and send all of it."""
        self.tls.write(data)
        self.flush()

    def read_into(self, view: memoryview) -> None:
        """Fill ``view``; fewer bytes than it holds are an error."""
        at, size = 0, len(view)
        read = self.tls.read  # type: Any
        while at < size:
            try:
                count = read(size - at, view[at:])
            except ssl.SSLWantReadError:
                if not self.fill():
                    raise Refused("the peer hung up") from None
                continue
            if not count:
                raise Refused("the peer ended too early")
            at += count

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = bytearray(count)
        self.read_into(memoryview(data))
        return bytes(data)


def peer(server: bool, settings: Any) -> Pipe:
    """Listen, say where, and take the one that shows the right certificate; strangers are sent away."""
    here = (os.environ.get("SSH_CONNECTION", "").split() + [""] * 4)[2]
    if not here:
        raise Refused("does not know at which address it was reached")
    with socket.socket(socket.AF_INET6 if ":" in here else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((here, 0))
        listener.listen(4)
        say("listens", here, listener.getsockname()[1])
        for _ in range(STRANGERS):
            sock, _ = listener.accept()
            try:
                return Pipe(sock, server, settings)
            except (OSError, Refused):
                sock.close()
    raise Refused("too many strangers knocked")


def reached(settings: Any) -> Pipe:
    """A connection to the first of the other's addresses that answers."""
    reasons = []
    for address in settings["addresses"]:
        try:
            sock = socket.create_connection((address, settings["port"]), timeout=settings["patience"])
        except OSError as error:
            reasons.append("%s port %d: %s" % (address, settings["port"], error))
            continue
        return Pipe(sock, False, settings)
    raise Unreached("cannot be reached: " + "; ".join(reasons))


def send(settings: Any, decided: Any) -> None:
    """Stream the file to the other; of a paced one a part for each word."""
    with open(settings["path"], "rb", buffering=0) as source:
        size = os.fstat(source.fileno()).st_size
        # Without an address of the other, somebody joins the two of us.
        pipe = reached(settings) if settings["addresses"] else peer(False, settings)
        pipe.write(HEAD.pack(size))
        left, part = size, int(settings.get("part", 0))
        view = memoryview(bytearray(BLOCK))
        while left:
            if part:
                decided.get()
            count = source.readinto(view[: min(part or BLOCK, left)])
            if not count:
                raise Refused("the file became shorter while it was read")
            pipe.write(view[:count])
            left -= count
        if pipe.read(1) != b"k":
            raise Refused("the destination has other bytes")
    say("sent", size)


def nameless(settings: Any) -> Any:
    """A file in the target's folder without a name; with one where the file system knows no other."""
    path = settings["path"]
    if os.path.isdir(path):
        raise Refused("%s is a directory" % path)
    try:
        return os.open(os.path.dirname(path) or ".", os.O_TMPFILE | os.O_RDWR, 0o600), ""
    except OSError:
        part = settings["part"]
        return os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), part


class Keeper:
    """A process beside that digests and writes what was received; a thread would wait for the interpreter.

    Both see the same blocks of memory, used in turn. We say how many bytes of the next block are there,
    it says when a block is free again, and at the end, or when something went wrong, a line of JSON.
    It ends when we do. Must be made before any thread.
    """

    def __init__(self, settings: Any) -> None:
        self.handle, self.part = nameless(settings)
        self.blocks = memoryview(mmap.mmap(-1, BLOCK * BLOCKS))
        self.link, theirs = socket.socketpair()
        self.free, self.at, self.said = BLOCKS, 0, b""
        if not os.fork():
            try:
                self.link.close()
                for number in range(3):
                    os.close(number)
                self.keep(theirs)
            finally:
                os._exit(0)
        theirs.close()

    def next(self) -> int:
        """Where the next block begins."""
        self.at = (self.at + BLOCK) % (BLOCK * BLOCKS)
        return self.at

    # -- on their side

    def keep(self, link: socket.socket) -> None:
        """Keep what is said to be there, to the end."""
        try:
            found = self.kept(link)  # type: Any
        except OSError as error:
            found = "%s" % error
        link.sendall((json.dumps(found) + "\n").encode())
        while link.recv(BLOCKS):
            pass  # what is still said to us after an error

    def kept(self, link: socket.socket) -> Any:
        """Size and digest of what was kept, once it is on the disk."""
        digest, size = hashlib.sha256(), 0
        while True:
            said = link.recv(COUNT.size, socket.MSG_WAITALL)
            if len(said) < COUNT.size:
                os._exit(1)
            (count,) = COUNT.unpack(said)
            if not count:
                break
            block = self.blocks[self.at : self.at + count]
            self.next()
            digest.update(block)
            size += count
            while len(block):
                block = block[os.write(self.handle, block) :]
            link.sendall(b".")
        os.fsync(self.handle)
        return size, digest.hexdigest()

    # -- on ours

    def room(self, count: int) -> memoryview:
        """A block to be filled, as soon as one is free. Raises Refused for what the other met."""
        while not self.free:
            self.hear()
        return self.blocks[self.at : self.at + count]

    def full(self, count: int) -> None:
        """The block is filled."""
        self.free -= 1
        self.next()
        self.link.sendall(COUNT.pack(count))

    def end(self) -> Any:
        """Nothing more comes: size and digest. Raises Refused for what the other met."""
        self.link.sendall(COUNT.pack(0))
        while True:
            found = self.hear()
            if found is not None:
                return found

    def hear(self) -> Any:
        """What is said at the end, None before. Raises Refused when that is an error."""
        heard = self.link.recv(LINE)
        if not heard:
            raise Refused("the process that writes has ended")
        words = heard if self.said else heard.lstrip(b".")
        self.free += len(heard) - len(words)
        self.said += words
        if not self.said.endswith(b"\n"):
            return None
        found = json.loads(self.said.decode())
        if isinstance(found, str):
            raise Refused(found)
        return found


def write_down(pipe: Pipe, keeper: Keeper) -> Any:
    """Size and digest of what came, once it is on the disk."""
    (left,) = HEAD.unpack(pipe.read(HEAD.size))
    while left:
        count = min(BLOCK, left)
        pipe.read_into(keeper.room(count))
        keeper.full(count)
        left -= count
    found = keeper.end()
    pipe.write(b"k")
    return found


def receive(settings: Any, decided: Any, keeper: Keeper) -> None:
    """Let one peer in, write what it sends, and keep it when told to."""
    path, part = settings["path"], keeper.part
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        say("received", *write_down(peer(True, settings), keeper))
        if decided.get() != b"k":
            raise Refused("not wanted any more")
        if not part:
            # With a folder's number given, and only then, Python follows the link to the file itself.
            source = "/proc/self/fd/%d" % keeper.handle
            os.link(source, settings["part"], src_dir_fd=folder, follow_symlinks=True)
            part = settings["part"]
        os.rename(part, path)
        part = ""
        with contextlib.suppress(OSError):
            os.fsync(folder)
    finally:
        if part:
            with contextlib.suppress(OSError):
                os.unlink(part)
    say("kept")


def main() -> None:
    """Take the settings, do the half that they name."""
    settings = json.loads(take(int(take(8))).decode())
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGPIPE):
        signal.signal(number, left)
    signal.setitimer(signal.ITIMER_REAL, int(settings["deadline"]) + 1, AGAIN)
    os.umask(0o077)
    decided = queue.Queue()  # type: Any
    try:
        keeper = Keeper(settings) if settings["role"] == "receive" else None
        threading.Thread(target=leave_with_input, args=(decided,), daemon=True).start()
        if keeper is None:
            send(settings, decided)
        else:
            receive(settings, decided, keeper)
    except (Refused, OSError, ValueError) as error:
        say("unreached" if isinstance(error, Unreached) else "refused", "%s" % error)
        os._exit(1)
    # Nothing is left to be done, and somebody waits for our end.
    os._exit(0)


main()
