"""Files that running servers read or write: configuration, logs, memory reports."""
