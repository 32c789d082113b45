"""Includes: many files make one fleet, and every problem names the file in which it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep.autopilot import config_file
from sidestep.autopilot.config_file import load_fleet, read_files
from sidestep.fleet.config import ConfigErrors
from sidestep.fleet.errors import ConfigError

TOP = 'include = ["hosts.d/*.toml"]\n[fleet]\nname = "x"\n[defaults.host]\nuser = "ops"\n'


def files(folder: Path, **texts: str) -> Path:
    """Write ``top`` and files of hosts.d; returns the fleet file."""
    (folder / "hosts.d").mkdir(exist_ok=True)
    for name, text in texts.items():
        path = folder / "fleet.toml" if name == "top" else folder / "hosts.d" / f"{name}.toml"
        path.write_text(text)
    return folder / "fleet.toml"


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_fleet(path)
    return caught.value


def test_included_files_follow_in_order_and_share_the_defaults(tmp_path: Path) -> None:
    path = files(
        tmp_path, top=TOP, b='[hosts.b]\naddress = "b"\n', a='[hosts."a[1-2]"]\naddress = "a[1-2]"\n', c="# none\n"
    )
    (tmp_path / "hosts.d" / ".#a.toml").write_text("an editor's")
    spec = load_fleet(path)
    assert [(h.name, h.user) for h in spec.hosts] == [("a1", "ops"), ("a2", "ops"), ("b", "ops")]
    assert spec.source == str(path)
    assert [p.name for p in read_files(path).paths] == ["fleet.toml", "a.toml", "b.toml", "c.toml"]


def test_all_problems_of_all_files_are_named_with_their_files(tmp_path: Path) -> None:
    path = files(
        tmp_path,
        top=TOP + "port = 0\n",
        a='[hosts.a]\naddress = "a"\ncpu = -1\n',
        b='[shards.s]\napp = "s"\nhost = "h9"\nstart = "x"\n',
    )
    error = refused(path)
    assert isinstance(error, ConfigErrors)
    folder = tmp_path / "hosts.d"
    assert [(p.file, p.line) for p in error.problems] == [
        (str(path), 6),
        (str(folder / "a.toml"), 3),
        (str(folder / "b.toml"), 3),
    ]


def test_the_same_host_in_two_files_is_an_error_that_names_both(tmp_path: Path) -> None:
    path = files(tmp_path, top=TOP, a='[hosts."w[1-3]"]\naddress = "w[1-3]"\n', b='\n[hosts.w2]\naddress = "x"\n')
    error = refused(path)
    assert f"{tmp_path}/hosts.d/b.toml:2: hosts.w2: is declared twice" in str(error)
    assert f"the first is on {tmp_path}/hosts.d/a.toml:1" in str(error)
    assert "override = true" in str(error)


def test_a_later_file_wins_with_the_explicit_word(tmp_path: Path) -> None:
    path = files(
        tmp_path,
        top=TOP + '[hosts."w[1-2]"]\naddress = "w[1-2]"\n[policy]\nquantile = 0.7\nmargin = 1\n',
        a='[hosts.w2]\noverride = true\naddress = "x"\n[policy]\noverride = true\nquantile = 0.9\n',
    )
    spec = load_fleet(path)
    assert spec.host("w2").address == "x"
    assert (spec.policy.quantile, spec.policy.margin) == (0.9, 1)


def test_a_key_of_a_section_in_two_files_needs_the_word_but_other_keys_do_not(tmp_path: Path) -> None:
    top = TOP + '[hosts.h]\naddress = "h"\n[policy]\nquantile = 0.7\n'
    assert load_fleet(files(tmp_path, top=top, a="[policy]\nmargin = 1\n")).policy.margin == 1
    error = refused(files(tmp_path, top=top, a="[policy]\nmargin = 1\nquantile = 0.8\n"))
    assert f"{tmp_path}/hosts.d/a.toml:3: policy.quantile: is declared twice" in str(error)
    assert f"{tmp_path}/fleet.toml:9" in str(error)


def test_a_problem_of_an_overridden_host_stands_where_the_key_stands(tmp_path: Path) -> None:
    path = files(
        tmp_path,
        top=TOP + '[hosts.w1]\naddress = "a"\n[hosts.w2]\naddress = "b"\nport = 7\n',
        a='[hosts.w2]\noverride = true\naddress = "a"\n[hosts.w1]\noverride = true\nport = 7\n',
    )
    error = refused(path)
    assert (error.file, error.line) == (f"{tmp_path}/hosts.d/a.toml", 3)
    assert "port 7 is already host w1" in str(error)


@pytest.mark.parametrize(
    ("includes", "said"),
    [
        ('["none.toml"]', "there is no file"),
        ('["nowhere/*.toml"]', "there is no folder"),
        ('["hosts.d/a.toml", "hosts.d/*.toml"]', "a second time"),
        ('["fleet.toml"]', "goes round in a circle: "),
        ('["hosts.d/round.toml"]', "fleet.toml → "),
        ("7", "must be a list of file names, not a number"),
        ('["hosts.d/a.toml", 7]', "must hold nothing but file names"),
    ],
)
def test_an_include_that_cannot_be_followed_is_named_with_its_line(tmp_path: Path, includes: str, said: str) -> None:
    top = TOP.replace('["hosts.d/*.toml"]', includes)
    path = files(tmp_path, top=f"\n{top}", a='[hosts.a]\naddress = "a"\n', round='include = ["../fleet.toml"]\n')
    error = refused(path)
    assert said in str(error)
    assert error.line == (1 if "round" in includes else 2)
    assert error.key == "include"


def test_several_files_that_are_no_toml_are_named_at_once(tmp_path: Path) -> None:
    error = refused(files(tmp_path, top=TOP, a="[hosts\n", b="x\n"))
    assert isinstance(error, ConfigErrors)
    assert [Path(p.file).name for p in error.problems] == ["a.toml", "b.toml"]


def test_includes_are_followed_eight_files_deep_and_no_deeper(tmp_path: Path) -> None:
    path = files(tmp_path, top='include = ["hosts.d/f0.toml"]\n[fleet]\nname = "x"\n[hosts.h]\naddress = "h"\n')
    for depth in range(9):
        files(tmp_path, **{f"f{depth}": f'include = ["f{depth + 1}.toml"]\n' if depth < 7 else "\n"})
    assert len(read_files(path).paths) == 9
    files(tmp_path, f7='include = ["f8.toml"]\n')
    error = refused(path)
    assert f"more than {config_file.MAX_DEPTH} files deep" in str(error)
    assert error.file.endswith("f7.toml")


def test_the_digest_changes_when_any_file_changes_comes_or_goes(tmp_path: Path) -> None:
    path = files(tmp_path, top=TOP, a='[hosts.a]\naddress = "a"\n')
    seen = [read_files(path).digest]
    assert read_files(path).digest == seen[0]
    files(tmp_path, a='[hosts.a]\naddress = "b"\n')
    seen.append(read_files(path).digest)
    files(tmp_path, b='[hosts.b]\naddress = "c"\n')
    seen.append(read_files(path).digest)
    (tmp_path / "hosts.d" / "a.toml").unlink()
    seen.append(read_files(path).digest)
    assert len(set(seen)) == 4
