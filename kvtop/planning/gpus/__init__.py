"""Accelerators by name or size: what `--gpu` accepts."""
