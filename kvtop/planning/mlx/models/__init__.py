"""Model classes of mlx-lm, and the caches that each makes."""
