"""Dialogs over a screen: each returns a value and changes nothing itself."""
