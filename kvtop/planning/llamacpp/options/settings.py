"""The effective settings of a llama-server that decide memory, typed, with the defaults of b11434.

`settings_from.py` makes them from parsed options; every rule of this engine reads only them.
"""

from dataclasses import dataclass

CacheType = str
PINNED_CONTEXT = 2**32 - 1
"""`--fit-ctx` as a typed `-c 0` sets it: the trained context was asked for by name."""
"""A ggml type name; the nine that `--cache-type-k/-v` accept are in `planning.cache_types`."""


CACHE_RAM_MIB, CTX_CHECKPOINTS = 8192, 32
"""Defaults of common/common.h, b11434."""


@dataclass(frozen=True, slots=True)
class DraftSettings:
    """The draft model of speculative decoding (`-md` and its own cache types and layers)."""

    model_path: str
    type_k: CacheType = "f16"
    type_v: CacheType = "f16"
    gpu_layers: int | None = None
    devices: tuple[str, ...] = ()
    """`-devd`; empty takes those of the target model, ("none",) takes no accelerator."""
    tensor_overrides: tuple[tuple[str, str], ...] = ()
    cpu_moe: bool = False
    cpu_moe_layers: int = 0


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """Defaults are `common_params` as `llama_server` changes them (common/common.h, tools/server/server.cpp b11434)."""

    model_path: str | None = None
    ctx_tokens: int = 0
    """`-c`; 0 takes the trained context."""
    parallel: int | None = None
    """`-np`; None is auto: four slots over one unified cache."""
    kv_unified: bool | None = None
    """`-kvu` / `-no-kvu`; None: true exactly when `parallel` is auto."""
    kv_unified_per_slot_tokens: int | None = None
    batch_tokens: int = 2048
    ubatch_tokens: int = 512
    type_k: CacheType = "f16"
    type_v: CacheType = "f16"
    flash_attention: str = "auto"
    """"on", "off" or "auto"."""
    swa_full: bool = False
    kv_offload: bool = True
    gpu_layers: int | None = None
    """`-ngl`; None is auto: every layer that fits. Negative: all of them."""
    split_mode: str = "layer"
    """"none", "layer", "row" or "tensor"."""
    tensor_split: tuple[float, ...] = ()
    main_gpu: int = 0
    tensor_overrides: tuple[tuple[str, str], ...] = ()
    """(regular expression on tensor names, buffer type) in the order llama.cpp tries them."""
    cpu_moe: bool = False
    cpu_moe_layers: int = 0
    cpu_ffn_layers: int = 0
    """`--n-cpu-ffn`: dense feed-forward weights of the first layers stay on the host."""
    fit: bool = True
    fit_target_bytes: tuple[int, ...] = (1024 * 1024 * 1024,)
    fit_ctx_tokens: int = 4096
    embeddings: bool = False
    is_pooled: bool = False
    """`--pooling` with anything but none: every token of a batch is an output, with `--embeddings` or without."""
    repack: bool = True
    op_offload: bool = True
    no_host: bool = False
    """`--no-host`: weights in host memory bypass the pinned buffers that a GPU computes from."""
    load_mode: str = "auto"
    devices: tuple[str, ...] = ()
    """`--device` names; empty takes all, ("none",) takes no accelerator."""
    speculative_types: tuple[str, ...] = ()
    draft_max_tokens: int = 3
    draft_type_k: CacheType = "f16"
    """`--spec-draft-type-k`, also for a draft context on the model itself (draft-mtp); `draft` repeats it."""
    draft_type_v: CacheType = "f16"
    draft: DraftSettings | None = None
    mmproj_path: str | None = None
    mmproj_offload: bool = True
    mmproj_device: str | None = None
    """`--mmproj-device`; None takes the first of `devices`, or of all."""
    lora_paths: tuple[str, ...] = ()
    has_control_vector: bool = False
    cache_ram_mib: int = CACHE_RAM_MIB
    """`--cache-ram`: saved prompts in host memory; negative: no limit, 0: none."""
    ctx_checkpoints: int = CTX_CHECKPOINTS
    """`--ctx-checkpoints`: of each slot, in host memory."""
