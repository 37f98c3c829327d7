"""Processes of this machine: which are servers, where they listen, which container they run in."""
