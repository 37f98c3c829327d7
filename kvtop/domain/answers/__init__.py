"""What the commands answer, as values that views may show."""
