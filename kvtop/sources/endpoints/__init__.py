"""Servers over HTTP: where to ask, what was answered, and when to ask again."""
