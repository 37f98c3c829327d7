"""How we know: all I/O and the clock live here, and nowhere else."""
