"""What llama.cpp does for one architecture, as far as memory depends on it: named traits, one value an architecture.

Sources: `llm_arch_is_*` and LLM_ARCH_NAMES (src/llama-arch.cpp), `create_memory` (src/llama-model.cpp), the
`load_arch_hparams`, `load_arch_tensors` and `build_graph` functions of src/models/*.cpp; b11434.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """How an architecture finds its sliding window (`load_arch_hparams`).

    `when`: "always" (the key may be missing only if `default_tokens` is set) or "if_set" (a window of 0 or none turns
    it off). `pattern`: every so many-th layer is full attention, 0: none is; None: the file must list the layers.
    `listed`: whether a list in the file wins over the pattern.
    """

    pattern: int | None
    when: str = "always"
    default_tokens: int | None = None
    forced_tokens: int | None = None
    dense_first: bool = False
    kind: str = "standard"
    listed: bool = True
    of_attention: bool = False
    """All layers that attend slide."""
    off_at_zero: bool = False
    """A key of 0 turns the window off, whatever is forced otherwise."""
    layers: int | None = None
    """Only models of so many layers slide: the smaller EXAONE 4 read the key and ignore it."""
    reads_pattern: bool = True
    """False: the architecture's own pattern, whatever the key says."""


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """The traits of one architecture. The defaults are those of a plain decoder."""

    name: str
    since: tuple[int, int] | None = None
    """The last build whose sources lack it, and the first that has it; None: known since May 2025 at least."""

    # What is kept of a sequence

    memory: str = "cache"
    """`create_memory`: "cache", "none", "recurrent" (state only) or "hybrid" (a cache and state)."""
    attends_uncached: bool = False
    """`build_attn_inp_no_cache`: attention over the batch alone, whether there is a cache or not."""
    window: Window | None = None
    cached_layers: str = "trunk"
    """Which blocks have a cache: "trunk" (all but prediction blocks), "all", "attention" (all that are not recurrent),
    "attention_of_trunk", or "attention_alone" (blocks that are attention and nothing else)."""
    first_cached_layers: int | None = None
    """So many first blocks own a cache; the others read it."""
    shares_last_caches: bool = False
    """`attention.shared_kv_layers` last blocks own no cache."""
    latent: bool = False
    """Reads `key_length_mla` and `value_length_mla`; with both set, only keys are cached."""
    caches_latent_values: bool = False
    """Values are cached all the same, until between b7710 and b7964 (#19057)."""
    values_are_latent: bool = False
    """A value is as long as `kv_lora_rank`."""
    indexer: str = ""
    """Which blocks have a lightning indexer, and so a second cache (`llama_kv_cache_dsa`): "every" one, those "listed"
    or "typed" in the file, "typed_or_every", "typed_or_by_context", those "after_dense" ones; "": none."""
    pooled_indexer: bool = False
    """Its rows hold key, gate and pooled key."""
    compressed: bool = False
    """DeepSeek V4: windows in all blocks, compressed pasts in some, and compressors' state."""
    recurrent_layers: str = "none"
    """Which blocks are recurrent: "none", "all", "without_kv_heads", "without_kv_heads_or_feed_forward", or all but one
    in every "interval"."""
    attention_interval: int = 0
    """That interval, unless the file says otherwise."""
    counts_prediction: bool = False
    """Prediction blocks may be recurrent too."""
    state: str = "scan"
    """What a recurrent block keeps: "scan" (Mamba 2), "ungrouped" (Mamba 1: the group count is not read), "rwkv",
    "short_convolution", "delta_attention" (`kda.head_dim` squared a head) or "lightning"."""
    scans: bool = False
    """`ssm_a` is the operand of a state-space scan (LLM_TENSOR_SSM_A, not _NOSCAN)."""
    rolls_back: bool = False
    """`llm_arch_supports_rs_rollback`: extra state rows for speculative decoding."""

    # Hyperparameters

    causal: bool = True
    """False: bidirectional whatever the file says."""
    alibi: str = ""
    """"always", "of_40_layers" or "by_key" (`attention.max_alibi_bias`); "": never."""
    softcap: float = 0.0
    """The cap of attention scores where the file names none; 0: it is not read."""
    loops: bool = False
    """Blocks run `num_loops` times, each time with a cache of its own."""
    rereads_head_lengths: bool = False
    """Head lengths count even where the first layer has no attention."""

    # Tensors

    prediction: str = ""
    """Blocks of multi-token prediction: "on_demand" (loaded with `--spec-type draft-mtp` only), "without_graph" (the
    same, but no second context is known), "never" (in the file and not loaded), "" (no rule)."""
    prediction_tensors: tuple[str, ...] = ()
    """What is loaded of prediction blocks in any case."""
    ties_output: bool = False
    """Without `output.weight` the embedding is created a second time for the output layer (TENSOR_DUPLICATED)."""
    ties_embedding: bool = False
    """The other way round."""
    copies_output_first: bool = False
    """The copy is created before the original, so both exist even where they share a buffer."""
    splits_tensors: bool = True
    """`llm_arch_supports_sm_tensor`; False: `--split-mode tensor` is refused."""
    embedding_norm: str = "first"
    """Where `token_embd_norm` works: on what goes into the "first" block, or "at_the_end"."""

    # The graph

    graph: str = "written"
    """"measured" (with recorded compute buffers of a model at real size), "written" (without), or "roughly_known": the
    size is an order of magnitude."""
    copies_unevenly: bool = False
    """What several devices copy is not all accounted for."""
    fuses_attention: bool = True
    """False: attention never runs fused."""
    chooses_blocks: bool = False
    """Attention is to chosen blocks of cells, whose scores take memory."""
    layer_norm: bool = False
    """Norms are LayerNorm, which is not in place."""
    squares_activation: bool = False
    expert_shares: str = "normalised"
    """The weights of chosen experts: "normalised", "by_key" (`expert_weights_norm`), "as_they_are", or
    "softmax_of_chosen"."""
    routes_by_logits: bool = False
    """Experts are chosen by logits, and weighted before they work."""
    narrows_at_the_end: bool = False
    """The last block works on all rows; others' only up to attention."""
    normalises_before_narrowing: bool = False
    residual_first: str = ""
    """In which sums the residual is the first operand, whose memory is taken over: those of "attention", of
    "feed_forward", or "both"."""
    views_state: bool = False
    """What a recurrent block gives is a view."""
    key_before_value: bool = False
    scales_query: bool = False
    scales_query_by_position: bool = False
    normalises_value: bool = False
    rotary: str = "every_layer"
    """Which layers turn by position: "every_layer", "in_window", "but_every_fourth" or "never"."""
    turns_in_window_plainly: bool = False
    """Rotary factors are for layers without a window."""
    positions: int = 1
    """Positions a token that the graph reads."""
    takes_mixed_batches: bool = True
    scales_embedding: str = ""
    """"by_token", "alike", or ""."""
    logits: str = "always"
    """"never" (encoders), or "without_embeddings" only."""
    mixes: bool = False
    """RWKV's blocks: a mix over time and one over channels."""
    halves_apart: bool = False
    """Blocks are attention, state or feed-forward alone."""
    sparse_layers: int = 0
    """So many first blocks keep only the largest values of a gate."""

    @property
    def is_hybrid(self) -> bool:
        """`llm_arch_is_hybrid`."""
        return self.memory == "hybrid"

    @property
    def is_recurrent(self) -> bool:
        """`llm_arch_is_recurrent`: state only."""
        return self.memory == "recurrent"

    @property
    def has_state(self) -> bool:
        """Whether some blocks keep a state that does not grow."""
        return self.memory in {"hybrid", "recurrent"}

    @property
    def predicts_on_demand(self) -> bool:
        """Prediction blocks are loaded where a second context asks for them."""
        return self.prediction in {"on_demand", "without_graph"}

    @property
    def is_uncached(self) -> bool:
        """`create_memory` gives it nothing."""
        return self.memory == "none"
