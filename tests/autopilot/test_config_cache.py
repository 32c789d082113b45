"""S2.21: a daemon is back soon, and never by a fleet that is not what its files say now."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep.autopilot import config_cache
from sidestep.autopilot.config_cache import load_cached
from sidestep.autopilot.config_file import load_fleet
from sidestep.fleet import policies
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet large enough to be kept: 40 hosts and 2,000 shards, one host in an included file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.toml").write_text('[hosts.extra]\naddress = "127.0.0.9"\n', encoding="utf-8")
    lines = ['include = ["more/*.toml"]', "[fleet]", 'name = "many"', "[policy]", 'use = ["proactive"]']
    for host in range(40):
        lines += [f"[hosts.h{host}]", f'address = "127.0.1.{host}"']
    for shard in range(2000):
        lines += [f"[shards.s{shard}]", 'app = "a"', f'host = "h{shard % 40}"', 'start = "run, and keep running"']
    path = tmp_path / "fleet.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every time that the files were really parsed."""
    seen: list[Path] = []
    read = config_cache.read_files

    def counted(path: Path) -> object:
        seen.append(path)
        return read(path)

    monkeypatch.setattr(config_cache, "read_files", counted)
    return seen


def _load(file: Path) -> FleetSpec:
    fleet = load_cached(file, file.parent / "kept.cache")
    assert fleet == load_fleet(file)
    return fleet


def test_an_unchanged_fleet_is_not_parsed_again_and_is_the_same(file: Path, parses: list[Path]) -> None:
    first, second = _load(file), _load(file)
    assert first == second
    assert second.shard("s1999").host == "h39"
    assert len(parses) == 1
    assert (file.parent / "kept.cache").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["file", "include", "new include", "gone include", "policy"])
def test_whatever_differs_is_parsed_anew(file: Path, parses: list[Path], change: str) -> None:
    before = _load(file)
    more = file.parent / "more"
    match change:
        case "file":
            text = file.read_text(encoding="utf-8").replace('127.0.1.7"', '127.0.1.99"', 1)
            file.write_text(text, encoding="utf-8")
        case "include":
            (more / "a.toml").write_text('[hosts.extra]\naddress = "127.0.0.8"\n', encoding="utf-8")
        case "new include":
            (more / "b.toml").write_text('[hosts.extra2]\naddress = "127.0.0.8"\n', encoding="utf-8")
        case "gone include":
            (more / "a.toml").unlink()
        case "policy":  # a person's own policy hides the shipped one of its name
            policies.user_dir().mkdir(parents=True)
            (policies.user_dir() / "proactive.toml").write_text('does = "less"\n[policy]\nmax_moves = 3\n')
    assert _load(file) != before
    assert len(parses) == 2


@pytest.mark.parametrize("version", ["code", "release"])
def test_another_version_parses_anew(
    file: Path, parses: list[Path], version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _load(file)
    if version == "code":
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "config.py").write_text("", encoding="utf-8")
        monkeypatch.setattr(config_cache, "_CODE", tmp_path / "code")
    else:
        monkeypatch.setattr(config_cache, "__version__", "9.9.9")
    _load(file)
    assert len(parses) == 2


@pytest.mark.parametrize("at", [0, 20, 60, 5000, -1])
def test_a_damaged_cache_is_as_if_it_were_not_there(file: Path, parses: list[Path], at: int) -> None:
    _load(file)
    cache = file.parent / "kept.cache"
    data = bytearray(cache.read_bytes())
    data[at] ^= 0x41
    cache.write_bytes(data)
    _load(file)
    cache.write_bytes(cache.read_bytes()[: len(data) // 2])
    _load(file)
    assert len(parses) == 3


def test_a_cache_that_others_could_have_written_is_not_believed(file: Path, parses: list[Path]) -> None:
    _load(file)
    cache = file.parent / "kept.cache"
    cache.chmod(0o644)
    _load(file)
    other = file.parent / "other.cache"
    cache.rename(other)
    cache.symlink_to(other)
    _load(file)
    assert len(parses) == 3


def test_a_file_that_became_wrong_is_refused_with_its_line(file: Path) -> None:
    """The cache never stands in for a file that cannot be used."""
    _load(file)
    file.write_text(file.read_text(encoding="utf-8") + "[hosts.bad]\naddres = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="addres"):
        load_cached(file, file.parent / "kept.cache")


def test_a_folder_that_cannot_be_written_and_a_small_fleet_keep_nothing(file: Path, tmp_path: Path) -> None:
    assert load_cached(file, file / "no folder" / "kept.cache").name == "many"
    small = tmp_path / "small.toml"
    small.write_text('[fleet]\nname = "few"\n[hosts.a]\naddress = "127.0.0.1"\n', encoding="utf-8")
    assert load_cached(small, tmp_path / "small.cache").name == "few"
    assert not (tmp_path / "small.cache").exists()
