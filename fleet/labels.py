"""Foreign strings, made harmless once where they enter the model.

Host names, error texts, command output and plugin strings may hold terminal escapes or
bidirectional overrides. ``scrub`` is the only maker of a ``Label``; widgets and values
take a ``Label``, so a type checker sees every string that skipped it.
"""

from typing import NewType

Label = NewType("Label", str)

LIMIT = 240


def scrub(text: str | bytes, limit: int = LIMIT) -> Label:
    """Return text with every unprintable character spelled out, cut to ``limit`` characters.

    ``str.isprintable`` is false for C0, C1, DEL, bidirectional controls, zero-width and
    private-use characters, so what remains cannot move the cursor or reorder a line.
    Bytes are decoded as UTF-8 with undecodable bytes replaced. Idempotent.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else f"<{ord(c):02x}>" for c in cut)
        if len(cut) > limit:
            cut = cut[: limit - 1] + "…"
    return Label(cut)
