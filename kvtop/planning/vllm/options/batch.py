"""Scheduler sizes after vLLM's defaults.

Source: vLLM 0.32.0, `engine/arg_utils.py` (`get_batch_defaults`, `_set_default_max_num_seqs_and_batched_tokens_args`).
"""

from dataclasses import dataclass

from kvtop.domain.plan import NoExactRuleError, PlanDevice
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.rules.rules import Rules

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Batch:
    """Scheduler sizes after vLLM's defaults. `in_flight_tokens`: scheduled and not settled."""

    max_batched_tokens: int
    max_seqs: int
    in_flight_tokens: int


def batch_of(settings: ServeSettings, device: PlanDevice, max_model_len: int, *, chunked_prefill: bool = True) -> Batch:
    """Scheduler sizes; vLLM's defaults depend on the first card's memory and name.

    Raises:
        StartRefusedError: sizes that contradict each other, in vLLM's words.
        NoExactRuleError: a default is needed and the card's memory is unknown.
    """
    tokens, seqs = settings.max_batched_tokens, settings.max_seqs
    if tokens is None or seqs is None:
        default_tokens, default_seqs = _batch_defaults(device, settings.rules)
        factor = 2 if settings.throughput_mode else 1
        seqs = default_seqs * factor if seqs is None else seqs
        if tokens is None:
            tokens = default_tokens * factor
            if not chunked_prefill:
                tokens = max(max_model_len, tokens)
            tokens = min(seqs * max_model_len, tokens)
        if settings.max_seqs is None:
            seqs = min(seqs, tokens)
    if tokens < max_model_len and not chunked_prefill:
        raise StartRefusedError(
            f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({max_model_len}). This effectively "
            "limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject longer sequences. "
            "Please increase max_num_batched_tokens or decrease max_model_len."
        )
    if tokens < seqs:
        raise StartRefusedError(
            f"max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs})."
        )
    batches = settings.pp_size + 1 if settings.async_scheduling else settings.pp_size
    return Batch(tokens, seqs, batches * tokens)


def _batch_defaults(device: PlanDevice, rules: Rules) -> tuple[int, int]:
    if device.total_bytes is None:
        raise NoExactRuleError(
            "vLLM's default --max-num-batched-tokens and --max-num-seqs depend on the card's memory, which is unknown"
        )
    if rules.has_large_card_defaults and device.total_bytes >= 160 * _GIB:
        return 16384, 1024
    # vLLM looks at the card's name; a card that is given by its capability alone is an A100 at 8.0.
    product = device.product.lower() or ("a100" if device.compute_capability == (8, 0) else "")
    if device.total_bytes >= 70 * _GIB and "a100" not in product:
        return 8192, 1024
    return 2048, 256
