"""What each layer keeps in the pool: its spec, its block size, its group."""
