"""The settings a running llama-server really has: its launch options, corrected by what its endpoint says."""

from dataclasses import replace

from kvtop.domain.plan import Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.options import settings_of
from kvtop.planning.llamacpp.settings import LlamaSettings

AUTO_SLOTS = 4
"""Slots of a server started without `-np` (tools/server/server.cpp, b11434)."""


def live_settings(reading: ServerReading) -> LlamaSettings | Refusal | None:
    """Effective settings, or None when nothing is known of the launch (a remote server).

    `--fit` changes the context only when `-c` was not given (common/fit.cpp), so a given `-c` stands and otherwise the
    endpoint's context per slot does. `/props` caps it at the trained context while memory is not capped, which is why
    it never overrides a given `-c`.
    """
    if reading.launch is None:
        return None
    settings = settings_of(reading.launch)
    if isinstance(settings, Refusal):
        return settings
    if settings.ctx_tokens or settings.kv_unified_per_slot_tokens or reading.slot_context_tokens is None:
        return settings
    is_unified = settings.parallel is None if settings.kv_unified is None else settings.kv_unified
    streams = 1 if is_unified else settings.parallel or AUTO_SLOTS
    return replace(settings, ctx_tokens=reading.slot_context_tokens * streams, fit=False)
