"""llama.cpp: its own memory breakdown on stand-in cards."""
