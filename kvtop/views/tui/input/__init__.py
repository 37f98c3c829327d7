"""Names of keys, and the command palette."""
