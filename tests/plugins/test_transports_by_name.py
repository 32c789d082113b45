"""Hosts get the transport that the fleet file names, found once for all of them."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from sidestep.fleet import extensions
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label
from sidestep.plugins import PluginError
from sidestep.plugins.transports import Connectors


def makes_none(*_: Any, **__: Any) -> object:
    return object()


def raises(*_: Any, **__: Any) -> object:
    raise ValueError("no tunnel")


def entry(what: str) -> EntryPoint:
    return EntryPoint(what, f"{__name__}:{what}", extensions.TRANSPORTS)


def host(number: int, transport: str) -> HostSpec:
    return HostSpec(name=Label(f"h{number}"), address="127.0.0.1", transport=Label(transport))


def test_what_makes_no_transport_is_named_and_a_thousand_hosts_of_one_name_cost_one_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []

    def entries(group: str) -> dict[str, EntryPoint]:
        looked.append(group)
        return {what: entry(what) for what in ("makes_none", "raises")}

    monkeypatch.setattr(extensions, "entries", entries)
    connectors = Connectors()
    for name, words in (("makes_none", "is none: object lacks"), ("raises", "ValueError: no tunnel")):
        for number in range(1000):
            with pytest.raises(PluginError, match=words):
                connectors.connect(host(number, name), None, None, ring=None, tunnels=None)
    assert looked == [extensions.TRANSPORTS] * 2
    with pytest.raises(PluginError, match="no plugin 'pigeon'"):
        connectors.connect(host(1, "pigeon"), None, None, ring=None, tunnels=None)
