"""What the dashboard remembers between frames, and what it asks of the wiring."""
