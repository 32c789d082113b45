"""The operators' workflows of docs/workflows.md, walked in tmux on a live fleet: ``python -m scripts.workflows``."""
