"""What llama.cpp makes of the context options (`llama_context::llama_context`, src/llama-context.cpp, b11434)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResolvedContext:
    """Effective values, as the log lines of `llama_context` print them. Counts of tokens, cells or sequences."""

    n_ctx: int
    n_ctx_seq: int
    """Cells of one stream."""
    n_seq_max: int
    kv_unified: bool
    n_stream: int
    n_batch: int
    n_ubatch: int
    n_outputs_max: int
    n_rs_seq: int
    flash_attention: bool
    type_k: str
    type_v: str
    swa_cells: int
    """Cells of one stream of a sliding-window cache; `n_ctx_seq` with `--swa-full`, 0 without such layers."""
