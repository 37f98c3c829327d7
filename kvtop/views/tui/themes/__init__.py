"""Themes, read from TOML files."""
