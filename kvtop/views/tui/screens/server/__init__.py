"""The Server screen."""
