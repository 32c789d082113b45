"""The part of HAProxy's configuration that sidestep needs: written once for a fleet file, read by people. Pure.

Everything that changes later is in the maps, in the server-state file and at the runtime API; a new shard in the
fleet file is the only reason to write it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidestep.backends.haproxy import desired as d
from sidestep.backends.routing.engine import OWNER
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.routing import RouterSpec

CONFIG: Final = "sidestep-haproxy.cfg"
LUA: Final = "sidestep-hold.lua"

_TOP: Final = """\
# Routing of fleet {fleet}, written by: sidestep router config
# Beside a configuration of your own:  haproxy -f /etc/haproxy/haproxy.cfg -f {folder}/{config}
# Held requests outlive a reload only if HAProxy runs with a master (-W) and [router] socket names its socket (-S).
global
    stats socket {worker} mode 600 level admin expose-fd listeners
    server-state-file {folder}/{servers}
    lua-load {folder}/{lua}

defaults sidestep
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout queue {wait:g}s
    timeout http-request 10s
    # only what was never sent is sent again: nothing is done twice
    retries 3
    option redispatch
    retry-on conn-failure
    # clients that keep connections are not cut off by a reload
    option idle-close-on-response
    load-server-state-from-file global

frontend sidestep from sidestep
    bind {bind}
    http-request set-var(txn.sidestep_app) {app}
    http-request set-var(txn.sidestep_slot) {key},crc32,and(65535),hex,bytes(12,4)
    http-request set-var(txn.sidestep_spot) var(txn.sidestep_app),concat(/,txn.sidestep_slot)
    http-request set-var(txn.sidestep_shard) var(txn.sidestep_spot),map_beg({folder}/{routes})
    http-request lua.sidestep_hold if {{ var(txn.sidestep_shard),map_str({folder}/{held}) -m found }}
    http-request return status 503 hdr retry-after 1 if {{ var(txn.sidestep_late) -m bool }}
    http-request return status 404 if !{{ var(txn.sidestep_shard) -m found }}
    # a worker that a reload has replaced cannot be told of new addresses, but of changes of its maps
    http-request set-var(txn.sidestep_to) var(txn.sidestep_shard),map_str({folder}/{owners}) if {{ stopping }}
    use_backend {late} if {{ var(txn.sidestep_to) -m found }}
    use_backend %[var(txn.sidestep_shard)]

backend {late} from sidestep
    http-request set-dst var(txn.sidestep_to),field(1,|)
    http-request set-dst-port var(txn.sidestep_to),field(2,|)
    server owner 0.0.0.0:0
"""
#: the backend of workers that end; no shard has a name with a colon
LATE: Final = "sidestep:late"
_BACKEND: Final = """
backend {shard} from sidestep
    balance roundrobin
    server {owner} {address}:{port} weight 0
"""
_TEMPLATE: Final = "    server-template e 1-{count} {address}:{port} weight 0\n"

#: keeps requests of held shards waiting; afterwards they go where their key is then
_LUA: Final = """\
-- Written by: sidestep router config. Holds the requests of a shard while it moves.
local held, routes

core.register_action("sidestep_hold", {{ "http-req" }}, function(txn)
    local spot = txn:get_var("txn.sidestep_spot")
    local shard, waited, pause = txn:get_var("txn.sidestep_shard"), 0, 2
    while shard do
        local most = held:lookup(shard)
        if most == nil then break end
        if waited >= tonumber(most) * 1000 then
            txn:set_var("txn.sidestep_late", true)
            break
        end
        core.msleep(pause)
        waited = waited + pause
        if pause < 20 then pause = pause + 1 end
        shard = routes:lookup(spot)
    end
    if shard then txn:set_var("txn.sidestep_shard", shard) else txn:unset_var("txn.sidestep_shard") end
end)

held = Map.new("{folder}/{held}", Map._str)
routes = Map.new("{folder}/{routes}", Map._beg)
"""


def routed(fleet: FleetSpec) -> tuple[str, ...]:
    """The shards that need a backend: those with keys, and those that a split may give some."""
    return tuple(str(shard.name) for shard in fleet.shards if shard.keys is not None or shard.spare)


def written(fleet: FleetSpec, router: RouterSpec, *, socket: str = "") -> dict[str, bytes]:
    """Every file by its name: the configuration, what it loads, and maps that are empty as yet.

    ``socket`` is where a worker listens for the runtime API if [router] names the master's.
    """
    folder = router.folder.rstrip("/")
    names = {
        "folder": folder,
        "routes": d.ROUTES,
        "held": d.HELD,
        "owners": d.OWNERS,
        "late": LATE,
        "servers": d.SERVERS,
        "lua": LUA,
        "config": CONFIG,
    }
    worker = socket or (router.socket if "master" not in router.socket else f"{folder}/worker.sock")
    top = _TOP.format(
        fleet=fleet.name, worker=worker, bind=router.bind, app=router.app, key=router.key, wait=router.wait, **names
    )
    empty = d.Desired()
    return {
        CONFIG: (top + "".join(_backends(routed(fleet), router.endpoints))).encode(),
        LUA: _LUA.format(**names).encode(),
        d.ROUTES: d.map_file({}, "keys of apps (APP/SLOT in hexadecimal) to shards"),
        d.HELD: d.map_file({}, "shards whose requests wait, and seconds that one waits at most"),
        d.OWNERS: d.map_file({}, "where workers that end send requests of shards to"),
        d.SERVERS: d.servers_file(empty, router.endpoints),
    }


def _backends(shards: Iterable[str], endpoints: int) -> Iterable[str]:
    address, port = d.NOWHERE
    for shard in shards:
        yield _BACKEND.format(shard=shard, owner=OWNER, address=address, port=port)
        if endpoints:
            yield _TEMPLATE.format(count=endpoints, address=address, port=port)
