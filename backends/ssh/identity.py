"""As whom we log in: private keys and their certificates, and the agent. Each file is parsed once."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import asyncssh
from msgspec import Struct

from sidestep.backends.ssh.identity_files import Certificate, KeyFile, KeyFiles, Passphrase
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import AuthenticationRefused
from sidestep.fleet.inventory import FleetSpec

#: asked for when nothing is named, as ssh does
DEFAULTS: Final = ("id_ed25519", "id_ecdsa", "id_rsa")
#: seconds that an agent's list of keys is good for; a burst of connections asks once
LISTED: Final = 1.0
#: seconds that an agent may take to list its keys
AGENT_DEADLINE: Final = 5.0


class Credentials(Struct, frozen=True):
    """What one connection may log in with, best first, and how to call it in an error."""

    #: for asyncssh's ``client_keys``: keys, (key, certificate) pairs and the agent's key pairs; never empty
    keys: tuple[Any, ...] | None
    said: str


class KeyRing:
    """Every private key, certificate and agent that the fleet's hosts are logged in to with.

    ``passphrase`` says where the passphrase of encrypted keys comes from ("file:PATH" or
    "command:LINE", paths relative to ``folder``); the passphrase itself is never in a command
    line, a log or an error. Agents are asked to sign, and never forwarded.
    """

    def __init__(self, *, passphrase: str = "", folder: Path | None = None) -> None:
        self._files = KeyFiles(Passphrase(passphrase, folder or Path.cwd()))
        self._agents: dict[str, _Agent] = {}

    @classmethod
    def of(cls, fleet: FleetSpec) -> KeyRing:
        """The ring that a fleet file asks for. Raises ConfigError."""
        return cls(passphrase=fleet.passphrase, folder=Path(fleet.source).absolute().parent)

    async def credentials(self, target: SshTarget) -> Credentials:
        """What to log in to ``target`` with.

        Raises AuthenticationRefused for a key of the fleet file that cannot be used, and when
        there is nothing to log in with at all.
        """
        paths, certificates = _paths(target)
        # Most hosts share what was read for the first: no thread for what does not block.
        fresh = self._files.fresh(paths, certificates)
        found = self._read(paths, certificates) if fresh else await asyncio.to_thread(self._read, paths, certificates)
        agent = self._agent(target)
        held = await agent.keys() if agent is not None else ()
        chosen = _Chosen(target, found.certificates, found.notes)
        for file in found.files:
            chosen.add_file(file, held)
        if not (target.identities_only or _is_only(target)):
            chosen.add_agent(held, first=not target.identities)
        if agent is not None and agent.problem:
            chosen.notes.append(agent.problem)
        return chosen.credentials()

    def forget(self) -> None:
        """Read keys and passphrase again when they are needed next."""
        self._files.forget()

    async def aclose(self) -> None:
        """Close the connections to agents."""
        for agent in self._agents.values():
            await agent.aclose()
        self._agents.clear()

    def _read(self, paths: tuple[str, ...], named: tuple[str, ...]) -> _Found:
        files = tuple(self._files.read(path) for path in paths)
        certificates: list[Certificate] = []
        notes: list[str] = []
        for path in named:
            try:
                certificates.append(self._files.certificate(path))
            except ValueError as error:
                notes.append(str(error))
        return _Found(files, tuple(certificates), notes)

    def _agent(self, target: SshTarget) -> _Agent | None:
        path = target.agent or os.environ.get("SSH_AUTH_SOCK", "")
        if not path or path == "none":
            return None
        return self._agents.setdefault(path, _Agent(path))


def _paths(target: SshTarget) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of identities, and of certificates that lie elsewhere."""
    named = target.identities or tuple(f"~/.ssh/{name}" for name in DEFAULTS)
    both = (
        (str(Path(path).expanduser()) for path in paths if path != "none") for paths in (named, target.certificates)
    )
    identities, certificates = (tuple(paths) for paths in both)
    return identities, certificates


class _Found(Struct, frozen=True):
    files: tuple[KeyFile, ...]
    certificates: tuple[Certificate, ...]
    notes: list[str]


def _is_only(target: SshTarget) -> bool:
    """An identity of the fleet file is the only one, even if the agent holds others."""
    return bool(target.identities) and not target.identities_optional


class _Chosen:
    """Collects what one connection may log in with."""

    def __init__(self, target: SshTarget, certificates: tuple[Certificate, ...], notes: list[str]) -> None:
        self._target, self._certificates = target, certificates
        self.notes = list(notes)
        self._keys: list[Any] = []
        self._said: list[str] = []
        self._used: set[bytes] = set()

    def add_file(self, file: KeyFile, held: tuple[Any, ...]) -> None:
        """A key file; the agent stands in for one whose private half cannot be read."""
        public = file.key.public_data if file.key is not None else file.public.public_data if file.public else b""
        certificates = [c for c in (*file.certificates, *self._certificates) if c.key == public]
        valid = self._valid(certificates)
        surrogate = next((pair for pair in held if pair.key_public_data == public), None)
        if file.key is not None:
            self._keys += [(file.key, c.certificate) for c in valid] or [file.key]
        elif surrogate is not None:
            self._keys += [_certified(surrogate, c) for c in valid]
            self._keys.append(copy.copy(surrogate))
        elif not self._target.identities_optional and self._target.identities:
            raise AuthenticationRefused(self._target.name, "connect", file.problem, hint=file.hint)
        else:
            # A file of the defaults need not be there, and one of ssh_config is passed over, as ssh does.
            if self._target.identities or "cannot be read: No such file" not in file.problem:
                self.notes.append(file.problem)
            return
        self._used.add(public)
        with_certificate = f" with certificate {valid[0].path}" if valid else ""
        self._said.append(f"identity {file.path}{with_certificate}")

    def add_agent(self, held: tuple[Any, ...], *, first: bool) -> None:
        """The agent's other keys; ``first`` puts them before the files, which nobody named."""
        others = [pair for pair in held if pair.key_public_data not in self._used]
        pairs: list[Any] = []
        for pair in others:
            mine = self._valid([c for c in self._certificates if c.key == pair.key_public_data])
            pairs += [_certified(pair, c) for c in mine]
            pairs.append(copy.copy(pair))
        if pairs:
            self._said.append(f"{len(others)} keys of the agent")
            self._keys = [*pairs, *self._keys] if first else [*self._keys, *pairs]

    def credentials(self) -> Credentials:
        """What was collected. Raises AuthenticationRefused when it is nothing."""
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        if not self._keys:
            raise AuthenticationRefused(
                self._target.name, "connect", f"there is no key to log in with{notes}",
                hint="name one in the fleet file (identity), or load one into ssh-agent",
            )  # fmt: skip
        return Credentials(tuple(self._keys), " and ".join(self._said) + notes)

    def _valid(self, certificates: Iterable[Certificate]) -> list[Certificate]:
        valid: list[Certificate] = []
        for certificate in certificates:
            problem = certificate.problem()
            if problem:
                self.notes.append(problem)
            else:
                valid.append(certificate)
        return valid


def _certified(pair: Any, certificate: Certificate) -> Any:
    """The agent's key with a certificate; a copy, because connections change their key pairs."""
    own = copy.copy(pair)
    own.set_certificate(certificate.certificate)
    return own


class _Agent:
    """One agent, over one connection that is made again when it was lost."""

    def __init__(self, path: str) -> None:
        self.path, self.problem = path, ""
        self._client: asyncssh.SSHAgentClient = asyncssh.SSHAgentClient(path)
        self._asking = asyncio.Lock()
        self._held: tuple[Any, ...] = ()
        self._until = 0.0

    async def keys(self) -> tuple[Any, ...]:
        """The key pairs that it holds; none, with ``problem``, when it does not answer."""
        async with self._asking:
            loop = asyncio.get_running_loop()
            if loop.time() < self._until:
                return self._held
            for _ in range(2):  # A lost connection is noticed by the first question.
                try:
                    async with asyncio.timeout(AGENT_DEADLINE):
                        self._held, self.problem = tuple(await self._client.get_keys()), ""
                    break
                except (OSError, ValueError, TimeoutError):
                    self._client.close()
                    self._client = asyncssh.SSHAgentClient(self.path)
                    self._held, self.problem = (), f"the agent at {self.path} does not answer"
            self._until = loop.time() + LISTED
            return self._held

    async def aclose(self) -> None:
        """Close the connection."""
        self._client.close()
        await self._client.wait_closed()
