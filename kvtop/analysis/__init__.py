"""What follows: pure functions from Samples to Frames."""
