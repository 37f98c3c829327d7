"""Which model files the running servers hold, and what their headers say."""
