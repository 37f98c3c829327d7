"""Text for a terminal or a screen reader."""
