"""What `--fit` makes of a llama-server's options: replayed as llama.cpp b11434 computes it, integer for integer."""
