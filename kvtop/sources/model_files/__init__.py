"""Headers in, models out: the readers of model files."""
