"""Weights, caches and states of llama.cpp: which there are, how large, and on which device."""
