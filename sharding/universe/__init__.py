"""The closed universe: which values may cross, what calls do to them. Whatever is not listed is refused."""
