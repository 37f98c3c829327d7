"""Compute graphs of llama.cpp, and the buffers that its scheduler reserves for them."""
