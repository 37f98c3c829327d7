"""One value per range of versions: everything in which an older vLLM decides otherwise than the newest.

A plan chooses its value once, from the version of its launch, and passes it down; no rule asks for a version itself.
"""

from dataclasses import dataclass

from kvtop.planning.vllm.dtypes import CACHE_DTYPES


@dataclass(frozen=True, slots=True)
class Rules:
    """The switches of one range. The defaults are those of vLLM 0.32.0.

    `version` is the one that the answers were recorded of. `architectures`: the model classes among them; `families`:
    the major numbers of the cards' compute capability. Empty where the recordings cover all that kvtop has rules for.
    """

    version: str
    architectures: frozenset[str] = frozenset()
    families: frozenset[int] = frozenset()
    cache_dtypes: tuple[str, ...] = CACHE_DTYPES
    """What `--kv-cache-dtype` takes, in the engine's order (`config/cache.py`, CacheDType)."""
    lacks_backends: frozenset[str] = frozenset()
    """Attention backends that are not there yet (`v1/attention/backends/registry.py`)."""
    holds_tokens_in_flight: bool = True
    """A window holds every token scheduled and not settled, not one batch (#49878 in 0.26:
    `SlidingWindowSpec.max_admission_blocks_per_request`)."""
    keeps_null_block: bool = True
    """One block is kept back in the start check (0.30: `get_kv_cache_configs`)."""
    aligns_precisions: bool = True
    """Blocks grow until a page covers one of the layers left at the native dtype
    (`platforms/interface.py`, `_align_heterogeneous_kv_block_size`)."""
    limits_state_block: bool = False
    """A block of recurrent state may not exceed a batch (`config/vllm.py`, the align-mode constraints)."""
    counts_head_scales: bool = True
    """Bytes of a token include its scales (`AttentionSpec.real_page_size_bytes`); pages always do."""
    has_large_card_defaults: bool = True
    """Cards of 160 GiB and more have defaults of their own (0.28: `engine/arg_utils.py`, `get_batch_defaults`)."""
    describes_windows: bool = True
    """AttentionSelectorConfig names windows, context parallelism and verification (`v1/attention/selector.py`)."""
    names_packed_latent: bool = True
    """The refusal of NVFP4 for latent attention offers `nvfp4_ds_mla` (`config/vllm.py`)."""

    @property
    def name(self) -> str:
        """For `MemoryPlan.rules_version`."""
        return f"vLLM {self.version}"

    def doubt(
        self, architecture: str, family: int, *, skips_layers: bool, stages: int, context_ranks: int, drafts: bool
    ) -> str:
        """Why this launch is outside what was recorded of the version, or "" where it is inside."""
        if not self.architectures:
            return ""
        other = (
            (architecture not in self.architectures, architecture),
            (family not in self.families, f"compute capability {family}.x"),
            (skips_layers, "--kv-cache-dtype-skip-layers"),
            (stages > 1, "--pipeline-parallel-size"),
            (context_ranks > 1, "--decode-context-parallel-size"),
            (drafts, "--speculative-config"),
        )
        named = [what for applies, what in other if applies]
        return f"rules of {self.version} were not checked with {', '.join(named)}" if named else ""
