"""MLX: rules checked on mlx-lm 0.32.2."""
