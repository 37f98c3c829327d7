"""What there is: frozen values, no I/O, no clock. Imports nothing of kvtop but itself."""
