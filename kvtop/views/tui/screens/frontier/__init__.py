"""The Frontier screen."""
