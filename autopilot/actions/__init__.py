"""Actions of plugins: the kinds ``apply`` and ``lift``, what the journal keeps of them, and whose word counts."""
