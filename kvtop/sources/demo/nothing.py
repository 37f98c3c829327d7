"""A host where no server runs."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.hardware import host_memory
from kvtop.sources.demo.timeline import EPOCH


def at(second: float) -> Sample:
    """The host at that second."""
    return Sample(EPOCH + second, "fresh-host", (host_memory(second, 16, 3),))
