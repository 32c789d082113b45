"""The documentation site: what is made from code, and what keeps it from dead links."""
