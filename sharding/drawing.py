"""A ShardGraph as a picture: blocks from top to bottom, edges beside them."""

from __future__ import annotations

from typing import Any, Final
from xml.sax.saxutils import escape

from sidestep.fleet.labels import scrub

_COLOURS: Final = {
    "doall": "#2e7d32", "reduction": "#1565c0", "sequential": "#6d6d6d", "refused": "#b71c1c", "straight": "#9e9e9e",
}  # fmt: skip
_HIGH, _GAP, _WIDE, _LEFT = 46, 22, 420, 150


def svg(graph: dict[str, Any]) -> str:
    """The picture as SVG text; every string in it is scrubbed and escaped."""
    blocks: list[dict[str, Any]] = graph["blocks"]
    at = {block["id"] + block["parent"]: n for n, block in enumerate(blocks)}
    height = 40 + len(blocks) * (_HIGH + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDE + 40}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<text x="{_LEFT}" y="20" font-weight="bold">{_text(graph["function"])}</text>',
    ]
    parts += [_block(n, block) for n, block in enumerate(blocks)]
    for k, edge in enumerate(graph["edges"]):
        if edge["from"] in at and edge["to"] in at:
            parts.append(_edge(k, at[edge["from"]], at[edge["to"]], edge))
    return "\n".join([*parts, "</svg>"])


def _text(said: object) -> str:
    return escape(scrub(str(said), 60))


def _top(n: int) -> int:
    return 34 + n * (_HIGH + _GAP)


def _block(n: int, block: dict[str, Any]) -> str:
    left = _LEFT + (24 if block["parent"] else 0)
    why = ", ".join(dict.fromkeys(r["code"] for r in block["refusals"])) if block["kind"] != "straight" else ""
    said = why or ", ".join(f"{c['name']}: {c['type']}" for c in block["writes"][:4])
    return (
        f'<rect x="{left}" y="{_top(n)}" width="{_WIDE - left + _LEFT}" height="{_HIGH}" rx="5" fill="none" '
        f'stroke="{_COLOURS[block["kind"]]}" stroke-width="2"/>'
        f'<text x="{left + 10}" y="{_top(n) + 18}">lines {block["entry"]}-{block["exit"]}: {block["kind"]}</text>'
        f'<text x="{left + 10}" y="{_top(n) + 36}" fill="#666">{_text(said)}</text>'
    )


def _edge(k: int, source: int, target: int, edge: dict[str, Any]) -> str:
    x = _LEFT - 12 - (k % 8) * 14
    begin, end = _top(source) + _HIGH // 2, _top(target) + _HIGH // 2
    dash = ' stroke-dasharray="4 3"' if edge["kind"] == "order" else ""
    return (
        f'<path d="M {_LEFT} {begin} H {x} V {end} H {_LEFT}" fill="none" stroke="#888"{dash}/>'
        f'<text x="{x + 2}" y="{(begin + end) // 2}" font-size="10" fill="#555">{_text(edge["name"])}</text>'
    )
