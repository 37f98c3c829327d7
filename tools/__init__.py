"""Programs for those who work on kvtop; no part of the package."""
