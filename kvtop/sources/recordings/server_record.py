"""Servers of recordings that were written before a field existed: what it would have said then."""

from dataclasses import replace

from kvtop.domain.server import ServerReading


def completed(reading: ServerReading) -> ServerReading:
    """A recorded reading with `is_proxy`, which recordings have from December 2026 on."""
    if reading.is_proxy:
        return reading
    from kvtop.sources.engines import PROXIES  # noqa: PLC0415  every adapter, where a server was recorded at all

    return replace(reading, is_proxy=True) if reading.engine in PROXIES else reading
