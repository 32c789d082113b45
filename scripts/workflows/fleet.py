"""The fleet that is walked: the demonstration, with what the workflows are about besides moves."""

from __future__ import annotations

import re
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final

from sidestep.autopilot.demo.stage import Stage
from sidestep.backends.embedded import counter

#: the host that is lost, and its shards, of which capsules are kept elsewhere
LOST: Final = "h2"
#: the shard that is idle until another is split
SPARE: Final = "kv-13"
_PROGRAM: Final = f"python3 -S -I {Path(counter.__file__).resolve()}"
#: what instances of the pool run: answers every word with who it answers for
_SERVICE: Final = """
def serve(listener, context):
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, context.request():
            peer.sendall(context.tenant.encode())
"""
_SPARE: Final = f"""
[shards.{SPARE}]
app = "counter"
host = "h3"
driver = "hook"
start = "exec {_PROGRAM} serve --standby --durable --report --cost 0.002 --padding 65536"
save = "exec {_PROGRAM} save"
load = "exec {_PROGRAM} load"
drop = "exec {_PROGRAM} drop"
quiesce = "exec {_PROGRAM} quiesce"
resume = "exec {_PROGRAM} resume"
ready = "exec {_PROGRAM} ready"
port = 7013
spare = true
"""
_POOL: Final = """
[pool.shop]
apps = ["cart"]
hosts = ["h1", "h3"]
service = "walked_shop"
path = "{folder}"
python = "{python}"
places = 2
min = 1
max = 4
cold = 1
drill_every = 0
ports = [7100, 7199]
"""


class Walked(Stage):
    """Durable shards in two zones, of which those on one host come back elsewhere; a spare; a pool of instances."""

    async def _spawn(self, name: str, module: str, *arguments: str) -> Process:
        if name == "daemon":
            (self.folder / "walked_shop.py").write_text(_SERVICE, encoding="utf-8")
            text = prepared(self.fleet_file.read_text(encoding="utf-8"), self.folder)
            self.fleet_file.write_text(text, encoding="utf-8")
        return await super()._spawn(name, module, *arguments)


def prepared(text: str, folder: Path) -> str:
    """The fleet file of the demonstration, with what the walks need."""
    text = text.replace('kinds = ["migrate"]', 'kinds = ["migrate", "failover"]').replace("grace = 15.0", "grace = 5.0")
    tables = "".join(map(_table, re.split(r"(?m)^(?=\[)", text)))
    return tables + _SPARE + _POOL.format(folder=folder, python=sys.executable)


def _table(text: str) -> str:
    """One table of it."""
    if host := re.match(r"\[hosts\.(h\d+)\]", text):
        return text.replace('zone = ""', f'zone = "{"a" if host[1] in {"h1", LOST} else "b"}"')
    if text.startswith("[shards."):
        text = text.replace(" serve --standby ", " serve --standby --durable ")
        text = re.sub(r"(?m)^(?=ready = )", f'drop = "exec {_PROGRAM} drop"\n', re.sub(r"(?m)^drop = .*\n", "", text))
    if text.startswith("[shards.") and f'host = "{LOST}"' in text:
        text = text.replace('failover = "wait"', 'failover = "capsule"').replace("replicas = 0", "replicas = 1")
        text = text.replace("replicate_every = 60.0", "replicate_every = 10.0")
    return text
