"""What runs on the hosts: sent over standard input, written nowhere, in whatever language a host has."""
