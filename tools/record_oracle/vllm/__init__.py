"""vLLM: its own planner on a stand-in CUDA platform."""
