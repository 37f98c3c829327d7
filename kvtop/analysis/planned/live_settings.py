"""The options a running server really has: its launch, corrected by what its endpoint says."""

from dataclasses import replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.options.parse import settings_of

AUTO_SLOTS = 4
"""Slots of a server started without `-np` (tools/server/server.cpp, b11434)."""


def live_launch(reading: ServerReading) -> LaunchOptions:
    """Effective options. `reading.launch` must be known.

    llama.cpp: `--fit` changes the context only when `-c` was not given (common/fit.cpp), so a given `-c` stands and
    otherwise the endpoint's context per slot does. `/props` caps it at the trained context while memory is not capped,
    which is why it never overrides a given `-c`.
    """
    launch = reading.launch
    if launch is None:
        raise ValueError(f"{reading.id}: the launch options are unknown")
    if launch.engine != "llama.cpp" or reading.slot_context_tokens is None:
        return launch
    if launch.value("ctx-size") not in {None, "0"}:
        return launch
    settings = settings_of(launch)
    if isinstance(settings, Refusal) or settings.ctx_tokens or settings.kv_unified_per_slot_tokens:
        return launch
    is_unified = settings.parallel is None if settings.kv_unified is None else settings.kv_unified
    streams = 1 if is_unified else settings.parallel or AUTO_SLOTS
    context = str(reading.slot_context_tokens * streams)
    said = (
        LaunchOption("ctx-size", context, Origin.ENDPOINT, "/props"),
        LaunchOption("fit", "off", Origin.ENDPOINT, "/props: already applied"),
    )
    names = {option.name for option in said}
    return replace(launch, options=(*(it for it in launch.options if it.name not in names), *said))
