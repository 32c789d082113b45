"""Widgets on Textual's Line API: each paints only the lines that changed."""
