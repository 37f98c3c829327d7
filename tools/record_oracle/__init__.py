"""Records what the engines themselves answer, for the tests to hold kvtop to."""
