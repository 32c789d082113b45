"""The errors that people read: each says what is wrong and what to do about it.

``exit_code`` follows the command line's contract (docs/cli.md): 2 is bad input, 1 is a
refusal or a failure that the world caused.
"""

from __future__ import annotations

from sidestep.fleet.labels import Label, scrub


class SidestepError(Exception):
    """Base of every error that sidestep raises on purpose; ``hint`` is the remedy."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(scrub(message, 2000))
        self.hint: Label = scrub(hint, 2000)

    def __str__(self) -> str:
        text = str(self.args[0])
        return f"{text}\n  remedy: {self.hint}" if self.hint else text


class ConfigError(SidestepError):
    """A file says something that cannot be used; names file, line, key, value and remedy."""

    exit_code = 2

    def __init__(self, file: str, line: int, key: str, value: object, message: str, *, hint: str = "") -> None:
        where = f"{file}:{line}" if line else file
        said = "" if value is None else f" = {value!r}"
        super().__init__(f"{where}: {key}{said}: {message}" if key else f"{where}: {message}", hint=hint)
        self.file, self.line, self.key, self.value = file, line, key, value


class UsageError(SidestepError):
    """A command was called with something that cannot be used."""

    exit_code = 2


class HostError(SidestepError):
    """A host answered with a failure; names host, step, command and the tail of its log."""

    def __init__(
        self, host: str, step: str, message: str, *, command: str = "", tail: str | bytes = "", hint: str = ""
    ) -> None:
        self.host, self.step = scrub(host), scrub(step)
        self.command, self.tail = scrub(command, 400), scrub(tail, 800)
        text = f"{self.host}: {self.step}: {message}"
        if self.command:
            text += f"; command: {self.command}"
        if self.tail:
            text += f"; log: {self.tail}"
        super().__init__(text, hint=hint)


class HostUnreachable(HostError):
    """The host did not answer: refused, timed out, or the connection was lost. Worth a retry."""


class ShardEnded(HostError):
    """The shard's process is known to have ended there, by its host: to look again does not help."""


class HostIncapable(HostError):
    """The host cannot do it, for a reason that has a name (docs/reasons.md): to try again does not help."""

    def __init__(
        self,
        host: str,
        step: str,
        message: str,
        *,
        code: str,
        command: str = "",
        tail: str | bytes = "",
        hint: str = "",
    ) -> None:
        super().__init__(host, step, f"{code}: {message}", command=command, tail=tail, hint=hint)
        self.code = code


class HostKeyRefused(HostError):
    """The host's key is unknown, changed or revoked. Never retried without an operator."""


class AuthenticationRefused(HostError):
    """The host refused our identity. Never retried without an operator."""


class TooEarly(SidestepError):
    """It cannot be done yet, for what it needs is only being learned: the same question in a few seconds may do."""


class IllegalTransition(SidestepError):
    """A state machine was asked for a change that its table does not have."""


class StalePlan(SidestepError):
    """The world differs from the one that the plan was made for; ``differences`` says where."""

    def __init__(self, number: int, differences: tuple[str, ...]) -> None:
        shown = "; ".join(differences)
        super().__init__(f"plan {number} is STALE: {shown}", hint="look at the newest proposal: sidestep plan list")
        self.differences = differences


class ProtocolError(SidestepError):
    """A frame on the daemon's socket cannot be understood."""

    exit_code = 2
