"""What mkdocs calls while it builds the site (mkdocs.yml): pages that are made from code, and nothing from elsewhere.

Pages that exist in no file: the readme as the first page, the changelog, and the reference of plugins, messages and
metrics. Pictures lose the address of a font on somebody's server, diagrams become drawings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.docs_site import diagram, messages, metrics, plugin_api

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_NAMED = re.compile(r"'([\w-]+\.md)'")
_DIAGRAM = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
#: files of the repository that are pages of the site, and links of theirs that go elsewhere there
_PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def of_repository(name: str) -> str:
    """A file of the repository's top as a page: what it links to is where the site has it."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for file, page in _PAGES.items():
        text = text.replace(f"]({file}", f"]({page}")
    return text


def pages() -> dict[str, str]:
    """Every page that is made, by its name."""
    made = {page: of_repository(file) for file, page in _PAGES.items()}
    made["index.md"] = f"---\nhide: [navigation]\n---\n{made['index.md']}"
    return made | {
        "plugin-api.md": plugin_api.page(),
        "messages.md": messages.page(),
        "metrics.md": metrics.page(),
    }


def without_fonts(svg: str) -> str:
    """A picture that fetches nothing."""
    return _FONT.sub("", svg)


def unlisted(nav: list[Any], names: set[str]) -> list[str]:
    """Pages that no part of the navigation names."""
    return sorted(names - set(_NAMED.findall(repr(nav))))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages that nobody has put anywhere yet at the end of how-to: a new page is found at once."""
    folder = Path(config.docs_dir)
    left = unlisted(config.nav or [], {path.name for path in folder.glob("*.md")})
    for part in config.nav or []:
        if left and isinstance(part, dict) and "How-to" in part:
            part["How-to"].append({"More": left})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and clean the pictures."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - the rest is used without mkdocs

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    for file in list(files):
        if file.src_uri.endswith(".svg"):
            clean = without_fonts(file.content_string)
            files.remove(file)
            files.append(File.generated(config, file.src_uri, content=clean))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw diagrams: the theme would fetch a program that does."""
    return _DIAGRAM.sub(lambda found: diagram.svg(found[1]), markdown)
