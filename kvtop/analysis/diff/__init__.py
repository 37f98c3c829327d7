"""What differs between two states of a host, and why."""
