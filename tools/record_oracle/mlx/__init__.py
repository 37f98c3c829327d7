"""mlx-lm: its own cache objects, counted without evaluating anything."""
