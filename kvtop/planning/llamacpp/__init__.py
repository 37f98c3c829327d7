"""llama.cpp: rules checked on b11434."""
