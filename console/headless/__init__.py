"""The commands that print: clients of the daemon's socket, without a terminal application."""
