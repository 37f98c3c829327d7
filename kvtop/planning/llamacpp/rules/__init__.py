"""What differs between architectures and builds of llama.cpp."""
