"""The wiring: sessions that join sources, analysis and planning for the commands."""
