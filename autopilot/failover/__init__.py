"""Hosts that are lost: when one is given up, what is started elsewhere, and what is not."""
