"""A server whose endpoint wants a key that kvtop was not given."""

from dataclasses import replace

from kvtop.domain.sample import Sample
from kvtop.domain.server import Counters, ServerState
from kvtop.sources.demo import rtx4090_llamacpp


def at(second: float) -> Sample:
    """The host at that second."""
    whole = rtx4090_llamacpp.at(second)
    locked = replace(
        whole.servers[0],
        state=ServerState.LOCKED,
        slots=None,
        slot_context_tokens=None,
        slot_count=None,
        counters=Counters(),
        hint="the endpoint wants an API key: put it in KVTOP_API_KEY or in the configuration file",
    )
    return replace(whole, servers=(locked,))
