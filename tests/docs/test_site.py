"""The documentation site is built without a network, fetches nothing, and has no dead link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documented import MADE, ROOT, pages

from scripts.docs_site import diagram, hook, metrics

#: attributes that a browser follows by itself
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "image": "href"}


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(out)],
        cwd=ROOT, env=os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    made = build(ROOT / "mkdocs.yml", out)
    assert made.returncode == 0, made.stderr
    return out


class Fetches(HTMLParser):
    """What opening a page fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in FETCHED and (value := given.get(FETCHED[tag])) and given.get("rel") != "canonical":
            self.found.append(value)


def test_no_page_picture_or_style_fetches_anything_from_elsewhere(site: Path) -> None:
    seen = 0
    for path in site.rglob("*.html"):
        reader = Fetches()
        text = path.read_text(encoding="utf-8")
        reader.feed(text)
        seen += len(reader.found)
        assert [url for url in reader.found if re.match(r"(?:[a-z]+:)?//", url)] == [], path.name
        # the theme would fetch a program for these
        assert 'class="mermaid"' not in text
    assert seen > 100
    for path in (*site.rglob("*.css"), *site.rglob("*.svg")):
        assert re.search(r"url\(\W*(?:https?:)?//|@import", path.read_text(encoding="utf-8")) is None, path.name


def test_every_page_is_in_one_of_the_parts(site: Path) -> None:
    expected = {path.stem for path in (ROOT / "docs").glob("*.md")} | {Path(name).stem for name in hook.pages()}
    assert {path.stem for path in site.glob("*.html")} == expected | {"404"}
    text = (site / "index.html").read_text(encoding="utf-8")
    for part in ("Tutorial", "How-to", "Reference", "Explanation", "Evidence"):
        assert part in text


def test_dead_links_and_anchors_fail_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[a](gone.md) [b](two.md#nowhere) [c](two.md#there)\n")
    (tmp_path / "docs" / "two.md").write_text("# Two\n\n## There\n")
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT}/mkdocs.yml\ndocs_dir: docs\nhooks: []\nextra_css: []\nnav: [index.md, two.md]\n"
    )
    made = build(tmp_path / "mkdocs.yml", tmp_path / "out")
    assert made.returncode == 1
    assert "'gone.md'" in made.stderr and "'#nowhere'" in made.stderr and "#there" not in made.stderr


def test_links_between_files_of_the_repository_lead_somewhere() -> None:
    """Also those that leave docs/, which the site does not have."""
    made = set(hook.pages())
    dead = []
    for page in (*pages(), ROOT / "CHANGELOG.md", *(ROOT / "docs" / name for name in MADE)):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and target not in made and not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert dead == []


def test_the_page_of_metrics_has_those_that_the_daemon_serves() -> None:
    """The names that operation.md tells people are among them."""
    told = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8").partition("## Metrics")[2]
    named = set(re.findall(r"`(sidestep_[a-z_]+)", told))
    assert named and named <= {each.name for each in metrics.families()}


def test_a_page_that_nobody_has_listed_is_found() -> None:
    nav = [{"Home": "index.md"}, {"How-to": [{"More or less": [{"A": "a.md"}]}, "b-c.md"]}]
    assert hook.unlisted(nav, {"index.md", "a.md", "b-c.md", "new.md"}) == ["new.md"]


def test_a_diagram_has_its_floors_and_refuses_a_circle() -> None:
    assert diagram.floors([("a", "b"), ("b", "c"), ("a", "c")]) == [["a"], ["b"], ["c"]]
    with pytest.raises(ValueError, match="circle"):
        diagram.svg("a --> b\nb --> a")
