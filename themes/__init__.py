"""Themes as TOML files, and the checks that keep them legible."""
