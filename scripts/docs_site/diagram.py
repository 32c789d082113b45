"""A diagram of who imports whom as a drawing within a page: boxes on floors, arrows downwards."""

from __future__ import annotations

import re

_EDGE = re.compile(r"(\w+) --> (\w+)")
WIDTH, HEIGHT, BOX, TALL = 720, 76, 112, 34


def floors(edges: list[tuple[str, str]]) -> list[list[str]]:
    """Names by floor, the highest first; whoever is imported is below all who import it."""
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for above, below in edges:
            depth[below] = max(depth[below], depth[above] + 1)
    if max(depth.values()) >= len(names):
        raise ValueError("the diagram has a circle")
    return [[name for name in names if depth[name] == floor] for floor in range(max(depth.values()) + 1)]


def svg(text: str) -> str:
    """The drawing of lines such as ``console --> fleet``, in the colours of the page."""
    edges = _EDGE.findall(text)
    place: dict[str, tuple[float, float]] = {}
    rows = floors(edges)
    for row, names in enumerate(rows):
        for column, name in enumerate(names):
            shift = 40 * (-1) ** row if len(names) == 1 else 0
            place[name] = WIDTH * (column + 1) / (len(names) + 1) + shift, row * HEIGHT + TALL
    tall = len(rows) * HEIGHT
    parts = [
        f'<svg class="diagram" role="img" aria-label="Who imports whom" viewBox="0 0 {WIDTH} {tall}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        '<path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    for above, below in edges:
        (x, y), (to, down) = place[above], place[below]
        bend = (down - y) / 2
        parts.append(
            f'<path class="edge" d="M{x:.0f} {y + TALL / 2:.0f}C{x:.0f} {y + bend:.0f} {to:.0f} {down - bend:.0f} '
            f'{to:.0f} {down - TALL / 2:.0f}" marker-end="url(#tip)"/>'
        )
    for name, (x, y) in place.items():
        parts.append(f'<rect x="{x - BOX / 2:.0f}" y="{y - TALL / 2:.0f}" width="{BOX}" height="{TALL}" rx="4"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>')
    return "\n".join([*parts, "</svg>"])
