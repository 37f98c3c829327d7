"""vLLM: rules checked on 0.32.0."""
