"""Plugins are found by entry point, and a bad one is named and isolated."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import sidestep.plugins as surface
from sidestep.fleet import extensions
from sidestep.plugins import BACKENDS, Backend, PluginError, available, load


def test_the_in_tree_backend_is_registered_like_anybodys() -> None:
    assert "process" in {entry.name for entry in available(BACKENDS)}
    backend = load(BACKENDS, "process")("demo")
    assert isinstance(backend, Backend)
    assert backend.name == "process"


def test_an_unknown_plugin_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(PluginError, match=r"no plugin 'nomad'.*process"):
        load(BACKENDS, "nomad")


@pytest.mark.parametrize("value", ["no_such_module_anywhere:X", "sidestep.fleet.labels:nothing"])
def test_a_plugin_that_cannot_be_imported_is_named_and_the_rest_goes_on(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = extensions.entries(BACKENDS)
    bad = EntryPoint(name="bad\x1b]52;c;x\x07", value=value, group=BACKENDS)
    monkeypatch.setattr(extensions, "entries", lambda _: {**good, bad.name: bad})
    with pytest.raises(PluginError, match="cannot be loaded") as caught:
        load(BACKENDS, bad.name)
    assert "\x1b" not in str(caught.value)
    assert all(entry.name.isprintable() for entry in available(BACKENDS))
    assert load(BACKENDS, "process")


def test_the_public_surface_is_exactly_what_it_says() -> None:
    assert len(set(surface.__all__)) == len(surface.__all__)
    assert all(hasattr(surface, name) for name in surface.__all__)


def test_every_kind_of_plugin_is_in_the_docs_and_ours_are_found_like_anybodys() -> None:
    """What has none of ours has a test with somebody else's."""
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    for group in extensions.GROUPS:
        assert f"`{group}`" in page, group
    without = {group for group in extensions.GROUPS if not extensions.names(group)}
    assert without <= {extensions.COMMANDS, extensions.PAGES, extensions.SUBJECTS, extensions.CONSTRAINTS}
    for group in set(extensions.GROUPS) - without - {extensions.THEMES}:
        for name in extensions.names(group):
            assert load(group, name) is not None
