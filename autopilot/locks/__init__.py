"""Locks for apps (S2.22): leases with fencing tokens in the journal, served on a socket of their own."""
