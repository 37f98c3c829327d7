"""How it looks: pixels and files, drawn from Frames."""
