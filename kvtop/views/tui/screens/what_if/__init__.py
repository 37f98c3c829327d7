"""The What-if screen."""
