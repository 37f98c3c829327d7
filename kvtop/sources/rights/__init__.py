"""Files that a process names are opened with that process's rights, never with more: kvtop often runs as root."""
