"""Everything in which a build of llama.cpp decides otherwise than the newest, as one value.

A plan chooses its value once, from the version of its launch; it travels with the model's hyperparameters and the
settings, and no rule asks for a build itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvtop.planning.llamacpp.rules.architectures import ARCHITECTURES
from kvtop.planning.llamacpp.rules.traits import ModelTraits

_FUSED_PADDING, _PLAIN_PADDING = 256, 32


@dataclass(frozen=True, slots=True, eq=False)
class BuildRules:
    """The switches of one range of builds. The defaults are those of b11434.

    `checked`: the build whose answers were recorded. `build`: the number of the one that is planned for.
    """

    checked: str = "b11434"
    build: int = 11434
    architectures: Mapping[str, ModelTraits] = field(default_factory=lambda: ARCHITECTURES)

    automatic_slots: int = 4
    """Slots without `-np`, over one unified cache; 1 before #16736 (between b6900 and b7079)."""
    one_slot_is_automatic: bool = False
    """`-np 1` without `-kvu` is taken for no `-np` at all (tools/server/server.cpp of b7079 and b7376)."""
    ctx_by_default_tokens: int = 0
    """Without `-c`: the trained context (0); 4096 before `--fit` (#16653, December 2025)."""
    gpu_layers_by_default: int | None = None
    """Without `-ngl`: as many layers as fit; none before #15434 (b6325)."""
    flash_attention_by_default: str = "auto"
    """"off" before #15434 (b6325)."""
    fits: bool = True
    """Has `--fit` (#16653)."""
    window_cells: str = "micro_batch"
    """A sliding-window cache has room for the window and a "micro_batch" (#13833), for the window and a "batch"
    (#13194, May 2025), or, before, it is as large as any other: "all"."""
    cell_padding: str = "always"
    """Cells are rounded up to 256 "always" (since b7079 or before), "never" (#16812, b6900), or, before,
    "by_flash_attention": to 256 with it, to 32 without."""
    has_streams: bool = True
    """Sequences may have cells of their own (#14363, July 2025); before, all share one pool."""
    repeats_hybrid_cells: bool = False
    """Every stream of a hybrid's cache has as many cells as all of them need together (`attn_kv_size` is `n_ctx`)."""
    takes_embeddings: bool = True
    """Graphs have a way in for embeddings beside tokens."""
    casts_masks: bool = False
    """Masks of attention are filled as f32 and converted to f16 where it is fused (`self_kq_mask_cnv`)."""
    limits_outputs: bool = True
    """The compute buffer holds the outputs that a server asks for; before `n_outputs_max` (between b9294 and b9538)
    those of every token of a micro-batch."""
    converts_cache_types: bool = True
    """CUDA attends to any pair of cache types, converting (#28079); before, K and V must be of one type it has a kernel
    for, and nothing else is attended to fused."""
    converts_in_buffer: bool = True
    """What CUDA's attention converts to f16 lies in the compute buffer (`ggml_cuda_flash_attn_ext_get_alloc_size`);
    before, in a pool that grows while it serves and is in no plan."""
    rotates_caches: bool = True
    """Quantized caches hold values turned by a Hadamard matrix (#21038)."""
    refuses_latent_pairs: bool = True
    """Latent attention refuses different K and V types."""
    host_copy_types: frozenset[str] = frozenset()
    """Types of a tied embedding that is copied although both are in host memory, with an accelerator at hand
    (`llama_model_loader::create_tensor`)."""
    quantized_values_words: str = "quantized V cache requires flash_attn to be enabled"
    """The refusal of a quantized V cache without flash attention."""
    unfused_values_words: str = ""
    """… where "auto" came to that; "": it does not."""
    knows_graphs: bool = True
    """Graphs are written down as this build makes them; else ranges of compute buffers are wider."""

    @property
    def name(self) -> str:
        """For `MemoryPlan.rules_version`."""
        return f"llama.cpp {self.checked}"

    def padding_cells(self, flash_attention: str) -> int:
        """What cells are rounded up to. `flash_attention` is the request: "auto" is resolved after the cache exists."""
        if self.cell_padding == "never":
            return 1
        if self.cell_padding == "by_flash_attention" and flash_attention == "off":
            return _PLAIN_PADDING
        return _FUSED_PADDING

    def lacks(self, architecture: str) -> ModelTraits | None:
        """The traits of an architecture that other builds know and this one does not; None where it does, or may."""
        traits = ARCHITECTURES.get(architecture)
        return traits if traits is not None and traits.since is not None and self.build <= traits.since[0] else None
