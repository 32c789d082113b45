"""Our themes as Textual's: the names of the style sheets' variables, and nothing more."""

from __future__ import annotations

from textual.theme import Theme as TextualTheme

from sidestep import themes


def variables(theme: themes.Theme) -> dict[str, str]:
    """What the style sheets and widgets call the theme's colours."""
    ramp = {f"ramp-{at}": colour for at, colour in enumerate(theme.ramp)}
    return {
        "ok": theme.ok,
        "warn": theme.warn,
        "muted": theme.muted,
        "input-cursor-background": theme.accent,
        "input-cursor-foreground": theme.background,
        "scrollbar": theme.panel,
        "scrollbar-background": theme.surface,
        "scrollbar-background-hover": theme.surface,
        "scrollbar-corner-color": theme.surface,
        **ramp,
    }


def skin(theme: themes.Theme) -> TextualTheme:
    """The theme to register with a Textual application."""
    return TextualTheme(
        name=theme.name,
        primary=theme.primary,
        secondary=theme.muted,
        accent=theme.accent,
        foreground=theme.foreground,
        background=theme.background,
        surface=theme.surface,
        panel=theme.panel,
        success=theme.ok,
        warning=theme.warn,
        error=theme.error,
        dark=theme.dark,
        variables=variables(theme),
    )
