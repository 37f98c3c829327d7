"""What the terminal can do, how fast it is, and whether it is still there."""
