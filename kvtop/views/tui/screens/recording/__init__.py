"""The Recording screen."""
