"""What differs between the versions of vLLM that kvtop has rules for."""
