"""Static analysis of one Python function by its syntax tree alone; the module it stands in is never imported."""
