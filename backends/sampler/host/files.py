"""Part of the host sampler: reading the kernel's files, and the numbers in them."""

import posix

TYPE_CHECKING = False
CLK = posix.sysconf("SC_CLK_TCK")
#: microseconds in a clock tick
TICK = 1000000 // CLK
PAGE = posix.sysconf("SC_PAGE_SIZE")
NOTHING = b"-"
NAME = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
pread = posix.pread
FLAGS = posix.O_RDONLY | getattr(posix, "O_CLOEXEC", 0)


def opened(path):
    # type: (bytes) -> int
    """A descriptor to keep; -1 where the file cannot be had."""
    try:
        return posix.open(path, FLAGS)
    except OSError:
        return -1


def shut(descriptor):
    # type: (int) -> None
    """Close a kept descriptor."""
    if descriptor >= 0:
        posix.close(descriptor)


def read(path, limit=65536):
    # type: (bytes, int) -> bytes
    """A small file; b"" where it cannot be had."""
    descriptor = opened(path)
    if descriptor < 0:
        return b""
    try:
        return posix.read(descriptor, limit)
    except OSError:
        return b""
    finally:
        posix.close(descriptor)


def again(descriptor, size=8192):
    # type: (int, int) -> bytes
    """A kept file as it is now; b"" where it cannot be had."""
    try:
        data = pread(descriptor, size, 0)
        while len(data) == size:
            size *= 4
            data = pread(descriptor, size, 0)
        return data
    except OSError:
        return b""


def lines(descriptor):
    # type: (int) -> bytes
    """A kept file of many records: the kernel gives at most a page of them at a time."""
    try:
        data = part = pread(descriptor, 65536, 0)
        while len(part) > 2048:
            part = pread(descriptor, 65536, len(data))
            data += part
        return data
    except OSError:
        return b""


def there(path):
    # type: (bytes) -> bool
    """Whether something exists."""
    try:
        posix.stat(path)
        return True
    except OSError:
        return False


def listed(path):
    # type: (bytes) -> list[bytes]
    """Names in a folder, sorted."""
    try:
        return sorted(posix.listdir(path))
    except OSError:
        return []


def size_after(data, key, start=0):
    # type: (bytes, bytes, int) -> int
    """The number of bytes that ``key``, such as b"\\nDirty:", says in kB; -1 where it does not."""
    at = data.find(key, start)
    return int(data[at + len(key) : data.find(b"kB", at)]) << 10 if at >= 0 else -1


def after(data, key):
    # type: (bytes, bytes) -> int
    """The number behind a key of a flat keyed file; -1 where there is none."""
    at = data.find(key)
    if at < 0:
        return -1
    end = data.find(b"\n", at + len(key))
    return int(data[at + len(key) : end if end >= 0 else None])


def number(value):
    # type: (int) -> bytes
    """A value in a record; negative is unknown."""
    return b"%d" % value if value >= 0 else NOTHING


def stalls(data):
    # type: (bytes) -> list[bytes]
    """Totals some and full of a pressure file."""
    some = full = NOTHING
    for line in data.split(b"\n"):
        at = line.rfind(b"=") + 1
        if line[:4] == b"some":
            some = line[at:]
        elif line[:4] == b"full":
            full = line[at:]
    return [some, full]
