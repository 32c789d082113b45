"""The router of a fleet from the command line: its configuration, and whether it has what it was told."""
