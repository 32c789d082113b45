"""Part of the host sampler: what systemd's timers and crontabs will start, and when next.

A child looks, so that nothing it waits for holds a sample up; it is killed when it takes long.
"""

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import ITIMER_REAL, setitimer
    from typing import Any

    from sidestep.backends.sampler.host.files import NAME, listed, read

#: seconds that a look may take
DEADLINE = 20.0
MOST_TASKS = 200
MOST_BYTES = 60000
#: minutes that the next run of a crontab's line is looked for
AHEAD = 8 * 1440
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
WORDS = {
    b"@hourly": b"0 * * * *",
    b"@daily": b"0 0 * * *",
    b"@midnight": b"0 0 * * *",
    b"@weekly": b"0 0 * * 0",
    b"@monthly": b"0 0 1 * *",
    b"@yearly": b"0 0 1 1 *",
    b"@annually": b"0 0 1 1 *",
}
SYSTEMCTL = (b"/usr/bin/systemctl", b"/bin/systemctl")


class Errand:
    """One look, by a child."""

    def __init__(self, now):
        # type: (float) -> None
        self.until, self.heard = now + DEADLINE, b""
        self.pipe, told = posix.pipe()
        self.child = posix.fork()
        if self.child == 0:
            try:
                # Whoever is killed before may leave us behind.
                setitimer(ITIMER_REAL, DEADLINE)
                posix.dup2(told, 1)
                null = posix.open(b"/dev/null", posix.O_RDWR)
                posix.dup2(null, 0)
                posix.dup2(null, 2)
                posix.setpgid(0, 0)
                posix.write(1, (b",".join(look(time.time())) or b"-") + b"\n")
            finally:
                posix._exit(0)
        posix.close(told)
        posix.set_blocking(self.pipe, False)

    def result(self, now):
        # type: (float) -> bytes | None
        """What was found, once the child has ended; b"-" when it took too long."""
        try:
            part = posix.read(self.pipe, 65536)
            self.heard += part
            if part and now < self.until:
                return None
        except BlockingIOError:
            if now < self.until:
                return None
        try:
            posix.kill(-self.child, 9)
        except OSError:
            pass
        posix.close(self.pipe)
        try:
            posix.kill(self.child, 9)
            posix.waitpid(self.child, 0)
        except OSError:
            pass
        return self.heard[:-1] if self.heard[-1:] == b"\n" and len(self.heard) < MOST_BYTES + 2 else b"-"


def look(now):
    # type: (float) -> list[bytes]
    """All scheduled tasks as words of a record, the soonest first."""
    found = []  # type: list[tuple[float, bytes, int]]
    for source in (timers, crontabs):
        try:
            found += source(now)
        except (OSError, ValueError):
            pass
    words, length = [], 0
    for at, name, period in sorted(found)[:MOST_TASKS]:
        word = b"%s@%d/%s" % (safe(name), at, b"%d" % period if period > 0 else b"-")
        length += len(word) + 1
        if length < MOST_BYTES:
            words.append(word)
    return words


def safe(name):
    # type: (bytes) -> bytes
    """A name of characters that cannot be mistaken."""
    return bytes(c if c in NAME else 95 for c in bytearray(name[:80])) or b"_"


def output(path, arguments):
    # type: (bytes, list[bytes]) -> bytes
    """What a command says. The deadline of the errand is its deadline."""
    pipe, told = posix.pipe()
    child = posix.fork()
    if child == 0:
        try:
            setitimer(ITIMER_REAL, DEADLINE)
            posix.dup2(told, 1)
            posix.execve(path, [path] + arguments, {b"PATH": b"/usr/bin:/bin", b"LC_ALL": b"C", b"TZ": b"UTC"})
        finally:
            posix._exit(127)
    posix.close(told)
    data, part = b"", b"-"
    while part and len(data) < 1 << 20:
        part = posix.read(pipe, 65536)
        data += part
    posix.close(pipe)
    posix.waitpid(child, 0)
    return data


def timers(now):
    # type: (float) -> list[tuple[float, bytes, int]]
    """What systemd's timers start next."""
    out = []  # type: list[tuple[float, bytes, int]]
    for systemctl in SYSTEMCTL:
        options = [b"--no-pager", b"--no-legend", b"--no-ask-password"]
        text = output(systemctl, [b"list-timers", b"--all", b"-o", b"json"] + options).strip()
        if text[:1] == b"[":
            import json

            for one in json.loads(text.decode("utf-8", "replace")):
                at, last = int(one.get("next") or 0) / 1e6, int(one.get("last") or 0) / 1e6
                name = str(one.get("unit") or "").encode()
                out.append((at, name, between(last, at, now)))
        else:
            # Older ones know no JSON: NEXT LEFT LAST PASSED UNIT ACTIVATES, times as "Mon 2024-01-01 00:00:00 UTC".
            for line in text.split(b"\n"):
                words = line.split()
                stamps = [moment(words[i : i + 3]) for i in range(len(words) - 3) if words[i].count(b"-") == 2]
                units = [word for word in words if word.endswith(b".timer")]
                if stamps and units and words[0] not in (b"-", b"n/a"):
                    out.append((stamps[0], units[0], between(stamps[1] if len(stamps) > 1 else 0, stamps[0], now)))
        if text:
            break
    return [(at, name[:-6] if name.endswith(b".timer") else name, period) for at, name, period in out if at > now]


def between(last, following, now):
    # type: (float, float, float) -> int
    """Seconds between runs, as far as the last and the next one tell: rounded to whole minutes; 0 unknown."""
    if not 0 < last < now < following or following - last < 30:
        return 0
    return int((following - last + 30) // 60) * 60


def moment(words):
    # type: (list[bytes]) -> float
    """Unix time of date and time of the day in UTC."""
    try:
        year, month, day = (int(word) for word in words[0].split(b"-"))
        hour, minute, second = (int(word) for word in words[1].split(b":"))
    except ValueError:
        return 0.0
    month = month - 2 if month > 2 else month + 10
    year -= month > 10
    days = year // 4 - year // 100 + year // 400 + 367 * month // 12 + day + year * 365 - 719499
    return days * 86400.0 + hour * 3600 + minute * 60 + second


def crontabs(now):
    # type: (float) -> list[tuple[float, bytes, int]]
    """What the lines of crontabs start next."""
    files = [(b"/etc/crontab", True)]
    files += [(b"/etc/cron.d/" + name, True) for name in listed(b"/etc/cron.d") if not name.startswith(b".")]
    for folder in (b"/var/spool/cron/crontabs/", b"/var/spool/cron/"):
        files += [(folder + name, False) for name in listed(folder) if name != b"crontabs"]
    out = []  # type: list[tuple[float, bytes, int]]
    for path, with_user in files:
        for line in read(path).split(b"\n"):
            one = entry(line.strip(), with_user, now)
            if one is not None:
                out.append((one[0], path.rpartition(b"/")[2] + b"." + one[1], one[2]))
    return out


def entry(line, with_user, now):
    # type: (bytes, bool, float) -> tuple[float, bytes, int] | None
    """Next run, the command's name, and the period of one line; None where it is no such line."""
    if line[:1] == b"@":
        word, _, rest = line.partition(b" ")
        line = WORDS.get(word, b"") + b" " + rest
    words = line.split(None, 6 if with_user else 5)
    if len(words) < (7 if with_user else 6) or line[:1] == b"#":
        return None
    try:
        fields = [field(word, low, high) for word, (low, high) in zip(words, RANGES)]
    except ValueError:
        return None
    if 7 in fields[4]:
        fields[4].add(0)
    either = words[2][:1] != b"*" and words[4][:1] != b"*"
    runs = next_runs(fields, either, now)
    if not runs:
        return None
    plain = words[2:5] == [b"*", b"*", b"*"]
    gaps = {after - before for before, after in zip(runs, runs[1:])} if plain else set()
    # A day of 86400 s is a guess where clocks are put forward; a list such as 0,10,30 has no period.
    if plain and len(fields[0]) == 1 and len(fields[1]) == 1:
        gaps = {86400}
    command = words[-1].split()[0].rpartition(b"/")[2] or b"command"
    return runs[0], command, int(gaps.pop()) if len(gaps) == 1 else 0


def field(text, low, high):
    # type: (bytes, int, int) -> set[int]
    """The numbers that a field of a line allows; raises ValueError for names and nonsense."""
    allowed = set()  # type: set[int]
    for piece in text.split(b","):
        span, _, step = piece.partition(b"/")
        first, dash, last = span.partition(b"-")
        if span == b"*":
            start, end = low, high
        else:
            start = int(first)
            end = int(last) if dash else high if step else start
        if not low <= start <= end <= high:
            raise ValueError(text)
        allowed.update(range(start, end + 1, int(step) if step else 1))
    return allowed


def next_runs(fields, either, now):
    # type: (list[set[int]], bool, float) -> list[float]
    """The next runs within some days, at most as many as show the period; local time of the host."""
    out = []  # type: list[float]
    at = now - now % 60 + 60
    end = at + AHEAD * 60
    while at < end and len(out) < 62:
        day = time.localtime(at)
        month_day, week_day = day.tm_mday in fields[2], (day.tm_wday + 1) % 7 in fields[4]
        today = (month_day or week_day) if either else (month_day and week_day)
        if day.tm_mon not in fields[3] or not today or day.tm_hour not in fields[1]:
            at += 3600 - day.tm_min * 60
            continue
        if day.tm_min in fields[0]:
            out.append(at)
        at += 60
    return out
