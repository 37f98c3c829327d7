"""Fields of options whose value is an object: one that the configuration class does not have is refused.

Source: vLLM 0.32.0, the dataclass fields of `config/*.py`, and pydantic's words.
"""

import json
from collections.abc import Mapping

from kvtop.domain.launch import LaunchOptions
from kvtop.planning.vllm.refusals import StartRefusedError

_COMPILATION = """
    backend cache_dir compile_cache_save_format compile_mm_encoder compile_ranges_endpoints compile_sizes
    cudagraph_capture_sizes cudagraph_copy_inputs cudagraph_decoder_replay cudagraph_mm_encoder cudagraph_mode
    cudagraph_num_of_warmups cudagraph_specialize_lora custom_ops debug_dump_path
    decoder_replay_cudagraph_capture_sizes decoder_replay_trim_threshold dynamic_shapes_config
    encoder_cudagraph_max_frames_per_batch encoder_cudagraph_max_vision_items_per_batch
    encoder_cudagraph_token_budgets fast_moe_cold_start inductor_compile_config inductor_passes ir_enable_torch_wrap
    max_cudagraph_capture_size mode pass_config splitting_ops use_inductor_graph_partition
"""
_PASSES = """
    eliminate_noops enable_qk_norm_rope_fusion fi_allreduce_fusion_max_size_mb fuse_act_padding fuse_act_quant
    fuse_allreduce_rms fuse_attn_quant fuse_mla_dual_rms_norm fuse_norm_quant fuse_qk_norm_rope_kvcache
    fuse_rope_kvcache fuse_rope_kvcache_cat_mla rope_kvcache_fusion_max_token_num
"""
_KERNEL = """
    enable_cutedsl_warmup enable_flashinfer_autotune enable_jit_warmup enable_rocm_segmented_attn_autotune
    ir_op_priority linear_backend linear_backend_per_quant moe_backend sparse_indexer_topk_backend
"""
_TRANSFER = """
    enable_permute_local_kv engine_id kv_buffer_device kv_connector kv_connector_extra_config kv_connector_module_path
    kv_load_failure_policy kv_port kv_role
"""
_FIELDS: Mapping[str, tuple[str, frozenset[str]]] = {
    "compilation-config": ("CompilationConfig", frozenset(_COMPILATION.split())),
    "kernel-config": ("KernelConfig", frozenset(_KERNEL.split())),
    "kv-transfer-config": ("KVTransferConfig", frozenset(_TRANSFER.split())),
}
_PASS_FIELDS = frozenset(_PASSES.split())


def refuse_unknown_fields(options: LaunchOptions) -> None:
    """Raises StartRefusedError for fields that the class of an option does not take."""
    for option, (owner, known) in _FIELDS.items():
        parsed = _object(options.value(option))
        unknown = {name: value for name, value in parsed.items() if name.replace("-", "_") not in known}
        passes = parsed.get("pass_config")
        if option == "compilation-config" and isinstance(passes, Mapping):
            unknown |= {f"pass_config.{name}": value for name, value in passes.items() if name not in _PASS_FIELDS}
        if unknown:
            raise StartRefusedError(_refused(owner, unknown))


def _refused(owner: str, unknown: Mapping[str, object]) -> str:
    lines = [f"{len(unknown)} validation error{'s' if len(unknown) > 1 else ''} for {owner}"]
    for name, value in unknown.items():
        kind = f"[type=unexpected_keyword_argument, input_value={value!r}, input_type={type(value).__name__}]"
        lines += [
            name,
            f"  Unexpected keyword argument {kind}",
            "    For further information visit https://errors.pydantic.dev/2.14/v/unexpected_keyword_argument",
        ]
    return "\n".join(lines)


def _object(text: str | None) -> Mapping[str, object]:
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, Mapping) else {}
