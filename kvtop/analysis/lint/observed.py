"""What a running server does, as rules ask for it. A command that is not started has nothing of it."""

from dataclasses import dataclass

from kvtop.domain.headroom import Disagreement


@dataclass(frozen=True, slots=True)
class Observed:
    """What a running server does. None is unknown, as everywhere.

    `listeners` are the addresses it is bound to. `memory_held_bytes` is what drivers measured. `is_preempting`:
    requests were thrown out of the pool since the last tick. `idle_seconds`: since a token was last read or written.
    """

    used_ratio: float | None = None
    filling: str = ""
    seconds_to_full: float | None = None
    waiting_for_memory: float | None = None
    requests_running: float | None = None
    is_preempting: bool | None = None
    preemptions_total: float | None = None
    longest_sequence_tokens: int | None = None
    sequence_limit_tokens: int | None = None
    slot_context_tokens: int | None = None
    idle_seconds: float | None = None
    memory_held_bytes: int | None = None
    has_metrics: bool | None = None
    has_slots: bool | None = None
    listeners: tuple[str, ...] | None = None
    wants_key: bool | None = None
    """Whether its endpoint refuses requests without a key; False: it answered one that a key would guard."""
    has_own_network: bool = False
    """It lives in a network namespace of its own: a container whose ports are published, or not."""
    disagreements: tuple[Disagreement, ...] | None = None
