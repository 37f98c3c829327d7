"""What a running server's engine found out when it started, and says: facts of a plan that no option states."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """None: the engine does not say it, or has no such thing. An option that states the same thing wins.

    A server that is started again finds all of it anew: what of it other options keep is its engine's own rule
    (`EngineRules.expected`).
    """

    context_cells: int | None = None
    """Of the whole cache of a llama-server, as its `--fit` left it."""
    pool_blocks: int | None = None
    """Of one engine of vLLM, as it profiled itself."""
    pool_bytes: int | None = None
    """The same in bytes of a rank: what a what-if keeps, whose blocks may have another size."""
    sequence_limit_tokens: int | None = None


NOTHING_MEASURED = Measured()
