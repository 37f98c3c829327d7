"""Model files: where they lie (`locate`) and what their headers say (`gguf`, `huggingface`). Weights are never read."""
