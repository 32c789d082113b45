"""console.toml: keys by the command's id, and every mistake named with line, value and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon
from hypothesis import given
from hypothesis import strategies as st

from sidestep.console import settings
from sidestep.console.commands import BY_ID
from sidestep.console.settings import Settings, parse
from sidestep.fleet.errors import ConfigError


def test_without_a_file_the_keys_are_those_of_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings.load() == Settings()
    (tmp_path / "sidestep").mkdir()
    (tmp_path / "sidestep" / "console.toml").write_text('[keys]\napprove = "A"\n')
    assert settings.load().keymap.keys(BY_ID["approve"]) == ("A",)


def test_keys_are_written_as_people_write_them() -> None:
    found = parse(b'[keys]\nfilter = ["/", "ctrl-f"]\nreject = []\n[approve]\nfree_shards = 0\n', "f").keymap
    assert found.keys(BY_ID["filter"]) == ("slash", "ctrl+f") and found.shown(BY_ID["filter"]) == "/"
    assert found.keys(BY_ID["reject"]) == () and found.shown(BY_ID["reject"]) == ""
    assert found.keys(BY_ID["approve"]) == ("a",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys = 3", "f:1: keys = 3: not a table"),
        ('[keys]\napprov = "A"', "f:2: keys.approv: no command has that id\n  remedy: did you mean approve"),
        ("[keys]\n\napprove = 7", "f:3: keys.approve = 7: not a key or a list of keys"),
        ('[keys]\napprove = "what ever"', "f:2: keys.approve = 'what ever': not a key"),
        ('[keys]\napprove = "x"', "f:2: keys.approve = 'x': already the key of reject on the plans screen"),
        ('[keys]\nconfirm = "y"', "no command has that id"),
        ("[colours]", "f:1: colours: unknown"),
        ("[approve]\nfree_shards = -1", "f:2: approve.free_shards = -1: not a whole number"),
        ("[approve]\nfree_shards = true", "not a whole number"),
        ("[approve]\nfree = 1", "f:2: approve.free: unknown"),
        ("[keys", "f: not TOML"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text.encode(), "f")
    assert said in str(error.value) and error.value.exit_code == 2


@given(st.binary(max_size=200))
def test_no_bytes_are_worse_than_a_clear_error(data: bytes) -> None:
    try:
        parse(data, "f")
    except ConfigError as error:
        assert str(error).startswith("f:")


async def test_a_changed_key_works_is_shown_and_the_old_one_does_nothing(daemon: Daemon, socket: Path) -> None:
    chosen = parse(b'[keys]\napprove = "A"\nplans = ["f4", "4"]\n', "f")
    async with console_on(socket, settings=chosen) as console:
        assert "f4 Plans" in console.lines()[-1]
        await console.press("f4")
        assert "A Approve" in console.lines()[-1]
        await console.press("a")
        assert console.app.screen is console.app.place
        await console.press("A")
        await console.sees("approve: this will run")
        await console.press("escape", "question_mark")
        assert any(line.strip("│ ").startswith("A ") for line in console.lines())
