"""Command lines: which engine one starts, what wraps it, and how a changed one is spelled."""
