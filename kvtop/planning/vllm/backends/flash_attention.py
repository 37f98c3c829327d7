"""Which FlashAttention a card gets, and what it refuses.

Source: vLLM 0.32.0, `v1/attention/backends/fa_utils.py` and `vllm_flash_attn/flash_attn_interface.py`; the wheels for
CUDA carry versions 2, 3 and 4.
"""

from dataclasses import dataclass

from kvtop.planning.vllm.dtypes import is_quantised
from kvtop.planning.vllm.rules.ranges import NEWEST
from kvtop.planning.vllm.rules.rules import Rules

HD256_PAGE_TOKENS = 128
"""The page of the dedicated head-size-256 kernel on Blackwell (`FA4_HD256_PAGE_SIZE`)."""


@dataclass(frozen=True, slots=True)
class AttentionCard:
    """The card and the run-wide facts that backends look at before a layer's own.

    `version_override`: the version that the command line or vLLM's own rules force.
    `run_dtype`: `--kv-cache-dtype` of the whole run. `soft_capped`: the model caps attention logits.
    `rules`: of the version that chooses.
    """

    capability: tuple[int, int]
    name: str = ""
    run_dtype: str = "auto"
    version_override: int | None = None
    soft_capped: bool = False
    mm_prefix: bool = False
    dcp: bool = False
    rules: Rules = NEWEST

    @property
    def family(self) -> int:
        """The major number: 9 for Hopper, 10 for data-centre Blackwell."""
        return self.capability[0]


@dataclass(frozen=True, slots=True)
class Heads:
    """What one question about a version is asked for; None where vLLM asks without knowing."""

    size: int | None = None
    size_v: int | None = None
    sinks: bool = False
    block_size: int | None = None
    hd256: bool = False
    """The asker can use the head-size-256 kernel."""


def is_supported(version: int, card: AttentionCard) -> bool:
    """Whether this version runs on the card at all."""
    if version == 3:
        return card.family == 9
    if version == 4:
        return card.family in (9, 10, 11)
    return card.capability >= (8, 0)


def uses_hd256(card: AttentionCard, heads: Heads) -> bool:
    """Whether version 4 would use its dedicated head-size-256 kernel."""
    return heads.size == 256 and heads.size_v in (None, 256) and card.family in (10, 11)


ANY_HEADS = Heads()


def version(card: AttentionCard, heads: Heads = ANY_HEADS) -> int | None:
    """The version vLLM takes, None where none runs on the card."""
    chosen = {9: 3, 10: 4}.get(card.family, 2)
    if card.version_override is not None:
        chosen = card.version_override
    if card.family >= 10 and chosen == 3:
        chosen = 4 if is_supported(4, card) else 2
    if chosen == 3 and card.family == 9:
        diff_kv = heads.size is not None and heads.size_v is not None and heads.size != heads.size_v
        if (heads.size is not None and heads.size > 256) or (heads.sinks and diff_kv):
            chosen = 4
    if chosen == 4 and uses_hd256(card, heads) and (not heads.hd256 or _hd256_refused(card, heads)):
        chosen = 2
    if chosen == 4 and card.family >= 10 and heads.size is not None and heads.size > 128:
        fits = (heads.size == 256 and heads.size_v in (None, 256)) or (heads.size == 192 and heads.size_v == 128)
        if not fits:
            chosen = 2
    return chosen if is_supported(chosen, card) else None


def _hd256_refused(card: AttentionCard, heads: Heads) -> bool:
    return (
        heads.sinks
        or card.soft_capped
        or is_quantised(card.run_dtype)
        or (heads.block_size is not None and heads.block_size % HD256_PAGE_TOKENS != 0)
        or card.mm_prefix
        or card.dcp
    )


def takes_dtype(dtype: str, card: AttentionCard, heads: Heads = ANY_HEADS) -> bool:
    """Whether a quantised cache of this type runs on the version that the card gets."""
    if dtype == "fp8_e5m2":
        return False
    chosen = version(card, heads)
    if card.family == 9:
        return chosen == 3 or (chosen == 4 and heads.size in (None, 512))
    return chosen == 4 and card.family == 10


def page_tokens(card: AttentionCard, dtype: str, heads: Heads) -> int | None:
    """The only page a kernel takes, None where any multiple of 16 will do."""
    asked = Heads(heads.size, heads.size_v, hd256=True)
    fp8 = dtype in ("fp8", "fp8_e4m3")
    if card.family == 9 and fp8 and heads.size == 512 and version(card, Heads(heads.size)) == 4:
        return 64
    if uses_hd256(card, heads) and version(card, asked) == 4:
        return HD256_PAGE_TOKENS
    return None
