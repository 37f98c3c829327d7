"""Model classes of vLLM, and what its configuration concludes from config.json."""
