"""Colour arithmetic for the checks: contrast, perceived distance, simulated colour blindness.

sRGB in, plain floats out. Contrast is WCAG 2's, distance is CIE76 in CIELAB (D65), the
deficiencies are those of Machado, Oliveira and Fernandes (2009) at full severity.
"""

from __future__ import annotations

import math
from typing import Final

Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]

DEFICIENCIES: Final[dict[str, Matrix]] = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
_TO_XYZ: Final[Matrix] = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_WHITE: Final[Triple] = (0.9505, 1.0, 1.089)


def rgb(code: str) -> tuple[int, int, int]:
    """The channels of ``#rrggbb``. Raises ValueError for anything else."""
    if len(code) != 7 or code[0] != "#":
        raise ValueError("not a colour; write #rrggbb")
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def linear(code: str) -> Triple:
    """Linear light of a colour, 0 to 1 a channel."""
    r, g, b = (c / 255 for c in rgb(code))
    return _lit(r), _lit(g), _lit(b)


def luminance(code: str) -> float:
    """Relative luminance, 0 (black) to 1 (white)."""
    return _dot(_TO_XYZ[1], linear(code))


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def distance(one: str, other: str, deficiency: str = "") -> float:
    """CIE76 distance as seen with that deficiency; "" is full colour vision."""
    return math.dist(_lab(_seen(one, deficiency)), _lab(_seen(other, deficiency)))


def _lit(c: float) -> float:
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def _dot(row: Triple, v: Triple) -> float:
    return row[0] * v[0] + row[1] * v[1] + row[2] * v[2]


def _apply(matrix: Matrix, v: Triple) -> Triple:
    return _dot(matrix[0], v), _dot(matrix[1], v), _dot(matrix[2], v)


def _seen(code: str, deficiency: str) -> Triple:
    light = linear(code)
    if not deficiency:
        return light
    r, g, b = _apply(DEFICIENCIES[deficiency], light)
    return min(1.0, max(0.0, r)), min(1.0, max(0.0, g)), min(1.0, max(0.0, b))


def _lab(light: Triple) -> Triple:
    x, y, z = (_curve(v / w) for v, w in zip(_apply(_TO_XYZ, light), _WHITE, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _curve(t: float) -> float:
    return math.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116
