"""What leaves kvtop, and the threads it waits in: files, a metrics page, a private folder."""
