"""Named policies as TOML files; ``fleet.policies`` reads them, docs/policies.md says what each does."""
