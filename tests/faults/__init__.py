"""Every system call of readers and writers fails in turn, as SQLite tests itself."""
