"""Text of others is never markup, never a link, and reaches a terminal scrubbed: what the source itself says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = sorted((ROOT / "console").rglob("*.py"))
#: widgets of Textual that take a text for markup unless they are told not to
MARKS_UP = {
    "Static", "Label", "Button", "Checkbox", "RadioButton", "Collapsible", "OptionList", "Option", "SelectionList",
    "Select", "Tree", "DataTable", "RichLog", "TabPane", "Placeholder", "Link", "Digits",
}  # fmt: skip
#: what makes markup of a string, or asks a terminal to open something
MAKES_MARKUP = {"from_markup", "render_markup", "open_url"}


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            target = node.func
            yield node, target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def offences(path: Path) -> Iterator[str]:
    """Everything in a file that could take a foreign string for markup or an action."""
    for node, name in calls(path):
        where = f"{path.name}:{node.lineno}: {name}"
        given = {word.arg: word.value for word in node.keywords}
        off = isinstance(given.get("markup"), ast.Constant) and given["markup"].value is False
        constant = (
            all(isinstance(each, ast.Constant) and "[" not in str(each.value) for each in node.args) and node.args
        )
        ours = ast.unparse(node.func).startswith("typer.") or constant
        if name in MAKES_MARKUP or (name in MARKS_UP and not off and not ours):
            yield where
        if name == "notify" and not off:
            yield f"{where} without markup=False"
        if name in {"run_action", "action_link"} and node.args and isinstance(node.args[-1], ast.Name):
            yield f"{where} of a name"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "[@click" in node.value:
            yield f"{path.name}:{node.lineno}: a link"
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and t.attr in {"border_title", "border_subtitle"} for t in node.targets
        ):
            value = node.value
            if not (isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Content"):
                yield f"{path.name}:{node.lineno}: a title that is not Content"


@pytest.mark.parametrize("path", CONSOLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_the_console_takes_a_string_for_markup(path: Path) -> None:
    """S7.6: rules 3 and 5."""
    assert list(offences(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "Static(f'{name}')",
        "self.notify(name)",
        "Content.from_markup(f'{name}')",
        "Text.from_markup(name)",
        "pane.border_title = name",
        "x = '[@click=app.approve]'",
        "app.run_action(name)",
        "RichLog(markup=True)",
    ],
)
def test_each_offence_would_be_found(source: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(source)
    assert len(list(offences(tmp_path / "x.py"))) == 1


def test_labels_of_what_is_not_ours_are_made_by_scrub_alone() -> None:
    """S7.6: rule 2. ``Label(...)`` is for constants; anything else goes through ``scrub``."""
    bad = []
    for folder in ("console", "backends", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node, name in calls(path):
                widget = any(word.arg == "markup" for word in node.keywords)
                if name == "Label" and not widget and not all(isinstance(each, ast.Constant) for each in node.args):
                    bad.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert bad == []


def test_nobody_writes_to_the_terminal_past_the_net_but_the_bell_and_the_clipboard() -> None:
    """S7.6: rule 6. Each of these is tested with hostile names in tests/console/test_dressing.py."""
    found = {
        (path.name, name)
        for path in CONSOLE
        for node, name in calls(path)
        if (name == "write" and "_driver" in ast.unparse(node.func))
        or name in {"copy_to_clipboard", "set_window_title"}
    }
    assert found == {("alerting.py", "write"), ("exporting.py", "copy_to_clipboard")}
