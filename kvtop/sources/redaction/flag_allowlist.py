"""Flags whose values may be shown: what decides memory, and what names a server. Every other flag keeps its name only.

An allowlist, because the next release of an engine may take a secret by a flag that nobody has heard of.
"""

_FLAGS = """
m model mu model-url hf hfr hf-repo hff hf-file a alias c ctx-size n n-predict b batch-size ub ubatch-size ngl
n-gpu-layers gpu-layers sm split-mode ts tensor-split mg main-gpu dev device fa flash-attn ctk cache-type-k ctv
cache-type-v np parallel kvu kv-unified swa-full nkvo no-kv-offload ot override-tensor ncmoe n-cpu-moe cmoe cpu-moe
md model-draft spec-draft-model ngld n-gpu-layers-draft cd ctx-size-draft ctkd ctvd cache-type-k-draft
cache-type-v-draft devd device-draft mm mmproj no-mmap mlock cram cache-ram fit fit-target fitt fit-ctx fitc host
port metrics slots props no-slots embedding embeddings pooling rope-scaling rope-scale rope-freq-base
rope-freq-scale yarn-orig-ctx t threads tb threads-batch numa sleep-idle-seconds jinja load-mode lora

tensor-parallel-size tp pipeline-parallel-size pp data-parallel-size dp decode-context-parallel-size dcp
enable-expert-parallel max-model-len max-num-seqs max-num-batched-tokens gpu-memory-utilization
kv-cache-memory-bytes kv-cache-dtype block-size num-gpu-blocks-override quantization q dtype load-format revision
served-model-name tokenizer enforce-eager enable-prefix-caching no-enable-prefix-caching swap-space
kv-offloading-size cpu-offload-gb attention-backend mamba-cache-mode mamba-block-size mamba-cache-dtype
mamba-ssm-cache-dtype max-loras max-lora-rank enable-lora uvicorn-log-level download-dir
compilation-config speculative-config hf-overrides limit-mm-per-prompt async-scheduling

kv-bits kv-group-size quantized-kv-start prompt-cache-size prompt-cache-bytes prefill-step-size
decode-concurrency prompt-concurrency draft-model num-draft-tokens adapter-path pipeline trust-remote-code

model-path context-length mem-fraction-static max-running-requests max-total-tokens chunked-prefill-size
page-size tp-size dp-size contextsize gpulayers quantkv usecublas flashattention multiuser mode
"""
KEPT_FLAGS = frozenset(_FLAGS.split())
"""Names without dashes, underscores written as dashes: llama.cpp, vLLM, mlx-lm, and then SGLang and others."""

_RULED = """
attention-config control-vector control-vector-scaled convert kv-cache-dtype-skip-layers lora-scaled mmproj-device
mmproj-url offload-params override-kv performance-mode runner spec-draft-device spec-draft-hf
spec-draft-override-tensor spec-draft-type-k spec-draft-type-v spec-method spec-model spec-type hf-config-path
model-id models lazy-mode uds config listen gpu backend hostname quantize keep-alive kv-cache-type flash-attention
"""
RULED_OPTIONS = frozenset(_RULED.split())
"""Options whose text the rules of an engine read, beside those above."""

_JSON_KEYS = """
architectures model model_type method quant_method rope_type type mode backend dtype torch_dtype quantization
cudagraph_mode kv_connector layer_types attention_backend image video audio
"""
KEPT_JSON_KEYS = frozenset(_JSON_KEYS.split())
"""Keys of a JSON value whose text may be shown; numbers and truth values always may."""
