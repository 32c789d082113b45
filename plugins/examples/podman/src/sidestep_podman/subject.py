"""What `sidestep plugin check podman` tries the backend with: a counter in a container of busybox alone.

Embedded hosts share this machine, so that each gets a store of images and containers of its own below one folder,
which is removed in the end. Needs root, podman and a busybox without libraries; no registry is asked for anything.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidestep.plugins import Backend, Label, ShardSpec, SidestepError, scrub
from sidestep.testing import Ground
from sidestep_podman.backend import PodmanBackend

#: the image's name in every store
IMAGE: Final = "localhost/sidestep-kit:1"
_LIMITS: Final = "--ulimit=nofile=1024:1024 --ulimit=nproc=1000:1000"
_SERVE: Final = (
    "[ -f /state/ballast ] || head -c 98304 /dev/urandom >/state/ballast; exec httpd -f -p $ADDRESS:$PORT -h /www"
)
_ADD: Final = """#!/bin/sh
n=$(($(cat /state/n 2>/dev/null || echo 0) + 1))
echo $n >/state/n.new && mv /state/n.new /state/n && printf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' $n
"""
#: podman as every embedded host calls it; the image is brought in when a store is used first
_WRAPPER: Final = """#!/bin/sh
store={folder}/$(printf %s "$HOME" | cksum | cut -d ' ' -f 1)
set -- --storage-driver vfs --root "$store/root" --runroot "$store/run" --tmpdir "$store/tmp" {options} "$@"
if [ ! -f "$store/ready" ]; then
    mkdir -p "$store"
    ( flock 8; [ -f "$store/ready" ] || podman --storage-driver vfs --root "$store/root" --runroot "$store/run" \\
        --tmpdir "$store/tmp" import {folder}/image.tar {image} >&2 && : >"$store/ready" ) 8>"$store/lock" || exit 9
fi
exec podman "$@"
"""


class PodmanSubject:
    """The counter: one more each time it is asked, kept in a file before it answers."""

    name = "counter in a container"
    state_bytes = 96 << 10
    durable = True
    folder = ".local/state/sidestep-podman"

    def __init__(self) -> None:
        busybox = Path("/bin/busybox")
        if os.geteuid() != 0 or shutil.which("podman") is None or not busybox.exists():
            raise SidestepError("containers cannot be tried here", hint="as root, with podman and busybox-static")
        self._folder = Path(tempfile.mkdtemp(prefix="spk-", dir="/run"))  # paths of podman's sockets must be short
        atexit.register(self._remove)
        _image(self._folder, busybox)
        options = "" if Path("/run/systemd/system").is_dir() else "--cgroup-manager cgroupfs"
        options += " --runtime runc" if shutil.which("runc") else ""
        self._podman = self._folder / "podman"
        self._podman.write_text(_WRAPPER.format(folder=self._folder, image=IMAGE, options=options))
        self._podman.chmod(0o755)

    def refusal(self) -> str:
        """Why no container runs on this machine, in podman's own words; "" if one does."""
        words = [str(self._podman), "run", "--rm", "--network=host", *_LIMITS.split(), IMAGE, "/bin/true"]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        return ran.stderr.strip()[-400:] if ran.returncode else ""

    def backend(self) -> Backend:
        """A new backend object."""
        return PodmanBackend("kit", podman=str(self._podman))

    def shard(self, number: int, host: Label) -> ShardSpec:
        """A counter with a port of its own."""
        return ShardSpec(
            name=scrub(f"kit.{number}"), app=Label("kit"), host=host, backend="podman", port=20000 + number,
            start=f"{_LIMITS} {IMAGE} /bin/sh -c '{_SERVE}'", ready="wget -q -O /dev/null http://$ADDRESS:$PORT/",
        )  # fmt: skip

    async def add(self, address: str, port: int) -> int:
        """One request over a connection of its own."""
        try:
            async with asyncio.timeout(3):
                reader, writer = await asyncio.open_connection(address, port)
                try:
                    writer.write(b"GET /cgi-bin/add HTTP/1.0\r\n\r\n")
                    said = await reader.read()
                finally:
                    writer.close()
            return int(said.rpartition(b"\r\n\r\n")[2])
        except (TimeoutError, ValueError) as error:
            raise OSError("not counted") from error

    def instances(self, ground: Ground, host: str, number: int) -> int:
        """Containers whose server listens there; its children for a request are in the same one."""
        return len({Path(f"/proc/{pid}/cgroup").read_text() for pid in _servers(ground, host, number)})

    def kill(self, ground: Ground, host: str, number: int) -> None:
        """``kill -9`` all of it."""
        for pid in list(_servers(ground, host, number)):
            with contextlib.suppress(OSError):
                frozen = re.search(r":freezer:(.*)", Path(f"/proc/{pid}/cgroup").read_text())
                os.kill(pid, signal.SIGKILL)
                if frozen is not None:  # a cgroup of version 1 that is frozen does not even die
                    Path(f"/sys/fs/cgroup/freezer{frozen[1]}/freezer.state").write_text("THAWED")

    def _remove(self) -> None:
        for store in self._folder.glob("*/run"):
            subprocess.run(["umount", "--recursive", "--lazy", str(store)], capture_output=True, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)


def _servers(ground: Ground, host: str, number: int) -> Iterator[int]:
    mark = f"httpd\0-f\0-p\0{ground.address(host)}:{20000 + number}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "cmdline").read_bytes():
                yield int(folder.name)
        except OSError:
            continue


def _image(folder: Path, busybox: Path) -> None:
    tree = folder / "image"
    for name in ("bin", "www/cgi-bin", "state", "tmp"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    for name in ("sh", "cat", "echo", "head", "mv", "httpd", "wget", "true"):
        (tree / "bin" / name).symlink_to("busybox")
    (tree / "www" / "index.html").write_text("ready\n")
    (tree / "www" / "cgi-bin" / "add").write_text(_ADD)
    (tree / "www" / "cgi-bin" / "add").chmod(0o755)
    with tarfile.open(folder / "image.tar", "w") as packed:
        packed.add(tree, arcname=".")
