"""A GGUF file as llama.cpp holds it after loading."""
