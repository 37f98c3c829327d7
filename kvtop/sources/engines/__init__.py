"""Engines that kvtop reads live: one file each, listed here."""

from kvtop.sources.engines import llamacpp

ENGINES = (llamacpp,)
"""An engine module has NAME, `recognises`, `launch`, `port_of`, `next_request` and `read`."""
