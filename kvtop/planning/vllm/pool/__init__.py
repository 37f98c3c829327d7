"""The pool of blocks: how many there are, and what an unstated one would be."""
