"""Fields of a config.json that bear on the cache: one that is not known here is a refusal, not an exact number.

The list is what the recorded configurations have. A field is suspected by its words: keys and values, windows,
indexers, compressed or latent rows, patterns of layers.
"""

import re

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.models.config_view import ConfigView

_SUSPECT = re.compile(
    r"(?:^|_)(?:kv|cache|sliding|windows?|index|indexer|compress|compressed|sparse|chunk|latent|mla|swa|dsa|csa|kda)(?:_|$)"
    r"|layer_types|layer_pattern|override_pattern|shared_layers"
)
_HARMLESS = re.compile(
    r"token|rope|cache_implementation|vision|visual|image|audio|use_cache|_bias|loss|dropout|router|_index$"
)
_KNOWN = frozenset(
    (
        "_sliding_window_pattern",
        "attention_chunk_size",
        "chunk_size",
        "chunk_size_feed_forward",
        "compress_ratios",
        "conv_L_cache",
        "decoder_sparse_step",
        "hybrid_layer_pattern",
        "hybrid_override_pattern",
        "index_head_dim",
        "index_n_heads",
        "index_share_for_mtp_iteration",
        "index_skip_topk_offset",
        "index_topk",
        "index_topk_freq",
        "index_topk_pattern",
        "indexer_types",
        "interleaved_sliding_window",
        "kv_channels",
        "kv_lora_rank",
        "kv_n_heads",
        "latent_moe_use_norm",
        "layer_types",
        "mamba_chunk_size",
        "mamba_ssm_cache_dtype",
        "max_window_layers",
        "mla_scale_kv_lora",
        "mla_scale_q_lora",
        "mla_use_nope",
        "mla_use_output_gate",
        "mlp_layer_types",
        "moe_latent_dim",
        "moe_latent_size",
        "mtp_hybrid_override_pattern",
        "mtp_layer_types",
        "n_head_kv",
        "num_kv_heads",
        "num_kv_shared_layers",
        "sliding_window",
        "sliding_window_pattern",
        "sliding_window_size",
        "sliding_windows",
        "sparse_attention_config",
        "swa_head_dim",
        "swa_num_attention_heads",
        "swa_num_key_value_heads",
        "swa_v_head_dim",
        "use_mla",
        "use_sliding_window",
        "use_sparse_attention",
    )
)


def refuse_unknown(view: ConfigView) -> None:
    """Raises NoExactRuleError for a field that may change the cache in ways that kvtop has no rule for."""
    for name, value in view.values.items():
        if not value or name in _KNOWN:
            continue
        if _SUSPECT.search(name) and not _HARMLESS.search(name):
            raise NoExactRuleError(f"config.json has {name}, which may change the cache and is not known to kvtop")
