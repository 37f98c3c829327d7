"""A frame as a document: one file a format."""
