"""Capsules for the day on which a host is lost: taken, copied to other hosts, checked, and fetched back."""
