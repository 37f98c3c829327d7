"""What an engine contributes to planning: the protocol, and the values that pass through it."""
