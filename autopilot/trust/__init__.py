"""Recording host keys: shown with their fingerprints, confirmed by a person or a list, never replaced."""
