"""Attention backends of vLLM, and how one is selected."""
