"""Theme files: what is shipped is legible, and what is wrong is refused with file and key."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep import themes
from sidestep.themes import colour, plugged
from sidestep.themes.schema import MIN_DISTANCE, STATES, check

SHIPPED = Path(themes.__file__).resolve().parent
COLOURS = st.integers(0, 0xFFFFFF).map(lambda n: f"#{n:06x}")


def dusk(**changes: str) -> bytes:
    text = (SHIPPED / "dusk.toml").read_text()
    for key, line in changes.items():
        text = "\n".join(line if row.startswith(f"{key} ") else row for row in text.splitlines())
    return text.encode()


def test_every_shipped_theme_passes_every_check() -> None:
    names = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    assert set(names) == {"dusk", "day", "contrast", "deuteranopia", "tritanopia", "ansi"}
    for name in names:
        theme = themes.load(name)
        assert theme.name == name
        assert not tuple(check(theme))


def test_ok_warn_and_error_can_be_told_apart_by_colour_blind_people() -> None:
    for name in themes.available():
        theme = themes.load(name)
        for eyes in colour.DEFICIENCIES:
            for one, other in (("ok", "warn"), ("ok", "error"), ("warn", "error")):
                assert colour.distance(getattr(theme, one), getattr(theme, other), eyes) >= MIN_DISTANCE


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ('sparkle = "#ffffff"', "sparkle", "unknown key"),
        ('name = "two words"', "name", "not a name"),
        ('dark = "yes"', "dark", "neither true nor false"),
        ('ok = "green"', "ok", "#rrggbb"),
        ("ok = 7", "ok", "#rrggbb"),
        ('muted = "#2a3040"', "muted", "contrast"),
        ('warn = "#ff7a50"', "warn", "under deuteranopia"),
        ('ramp = ["#000000"]', "ramp", "list of 5"),
        ('ramp = ["#000000", "#303030", "#202020", "#909090", "#ffffff"]', "ramp", "luminance"),
        ("ok = ", "", "not TOML"),
    ],
)
def test_a_bad_theme_is_refused_with_its_file_and_key(line: str, key: str, said: str) -> None:
    field = line.split(" ", maxsplit=1)[0]
    data = dusk(**{field: line}) if field != "sparkle" else dusk() + b"\n" + line.encode()
    with pytest.raises(themes.ThemeError, match=said) as caught:
        themes.parse(data, "mine.toml")
    assert caught.value.key == key
    assert str(caught.value).startswith("mine.toml")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(themes.ThemeError, match=r"mine\.toml: accent: missing"):
        themes.parse(dusk(accent=""), "mine.toml")


def test_all_complaints_of_a_file_come_at_once() -> None:
    with pytest.raises(themes.ThemeError) as caught:
        themes.parse(dusk(muted='muted = "#2a3040"', ok='ok = "#2a3040"'), "mine.toml")
    assert "muted" in str(caught.value)
    assert "ok" in str(caught.value)


def test_a_users_theme_hides_the_shipped_one_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = themes.user_dir()
    folder.mkdir(parents=True)
    (folder / "dusk.toml").write_bytes(dusk(accent='accent = "#ffffff"'))
    (folder / "mine.toml").write_bytes(dusk(name='name = "mine"'))
    assert themes.load("dusk").accent == "#ffffff"
    assert themes.load("mine").name == "mine"
    assert "mine" in themes.available()


def test_a_plugins_theme_is_found_by_name_and_hides_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X6: what cannot be found is told with the plugin's name, and the other themes are there."""
    package = tmp_path / "their_colours"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('nothing of a theme is run')")
    (package / "mint.toml").write_bytes(dusk(name='name = "mint"'))
    (package / "day.toml").write_bytes(dusk(name='name = "day"', dark="dark = true"))
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [
        EntryPoint("theirs", "their_colours", plugged.GROUP),
        EntryPoint("lost", "nowhere.at.all", plugged.GROUP),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    plugged.folders.cache_clear()
    try:
        assert themes.load("mint").name == "mint" and "mint" in themes.available()
        assert not themes.load("day").dark
        assert themes.stamp("mint") is not None
        with pytest.raises(themes.ThemeError, match=r"no themes of plugin 'lost': ModuleNotFoundError"):
            themes.load("neon")
    finally:
        plugged.folders.cache_clear()


def test_an_unknown_theme_says_which_there_are() -> None:
    with pytest.raises(themes.ThemeError, match="ansi, contrast, day, deuteranopia, dusk, tritanopia"):
        themes.load("neon")


def test_each_state_is_checked_against_each_other() -> None:
    theme = themes.load("dusk")
    for state in STATES:
        other = "warn" if state != "warn" else "ok"
        assert tuple(check(replace(theme, **{state: getattr(theme, other)})))


@given(COLOURS, COLOURS)
def test_distances_and_contrasts_are_symmetric(one: str, other: str) -> None:
    assert colour.contrast(one, other) == colour.contrast(other, one) >= 1
    for eyes in ("", *colour.DEFICIENCIES):
        assert colour.distance(one, other, eyes) == pytest.approx(colour.distance(other, one, eyes))
    assert colour.distance(one, one, "tritanopia") == 0


def test_known_contrasts_and_distances() -> None:
    assert colour.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colour.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert colour.distance("#000000", "#ffffff") == pytest.approx(100, abs=0.1)
    assert colour.distance("#ff0000", "#00ff00", "deuteranopia") < colour.distance("#ff0000", "#00ff00")


@pytest.mark.parametrize(("name", "eyes"), [("deuteranopia", "deuteranopia"), ("tritanopia", "tritanopia")])
def test_a_theme_for_some_eyes_serves_them_twice_as_well_as_is_asked(name: str, eyes: str) -> None:
    theme = themes.load(name)
    for one, other in (("ok", "warn"), ("ok", "error"), ("warn", "error")):
        assert colour.distance(getattr(theme, one), getattr(theme, other), eyes) >= 2 * MIN_DISTANCE


def test_the_ansi_theme_has_the_sixteen_colours_of_terminals_and_no_other() -> None:
    sixteen = {f"#{r:02x}{g:02x}{b:02x}" for r in (0, 170) for g in (0, 170) for b in (0, 170)}
    sixteen |= {f"#{r:02x}{g:02x}{b:02x}" for r in (85, 255) for g in (85, 255) for b in (85, 255)}
    theme = themes.load("ansi")
    used = {value for value in vars(theme).values() if isinstance(value, str) and value.startswith("#")}
    assert used | set(theme.ramp) <= sixteen


def test_stale_is_not_taken_for_a_state_that_asks_for_something() -> None:
    for name in themes.available():
        theme = themes.load(name)
        for state in ("warn", "error"):
            assert colour.distance(theme.muted, getattr(theme, state)) >= MIN_DISTANCE, (name, state)


def test_the_stamp_of_a_theme_changes_with_its_file_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    shipped = themes.stamp("dusk")
    assert shipped is not None
    assert themes.stamp("mine") is None
    themes.user_dir().mkdir(parents=True)
    (themes.user_dir() / "dusk.toml").write_bytes(dusk())
    assert themes.stamp("dusk") not in (shipped, None)
