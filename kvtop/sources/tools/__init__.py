"""Programs that kvtop runs for the user."""
