"""Every option of llama-server b11434 as data: spellings, kind (found by good and bad values) and variable."""

from collections.abc import Mapping
from dataclasses import dataclass

_TABLE = """\
-h --help --usage | flag
--version | flag
-cl --cache-list | flag
--completion-bash | flag
-t --threads | int | LLAMA_ARG_THREADS
-tb --threads-batch | int
-C --cpu-mask | text
-Cr --cpu-range | text
--cpu-strict | uint
--prio | int
--poll | uint
-Cb --cpu-mask-batch | text
-Crb --cpu-range-batch | text
--cpu-strict-batch | int
--prio-batch | int
--poll-batch | int
-lcs --lookup-cache-static | text
-lcd --lookup-cache-dynamic | text
-c --ctx-size | int | LLAMA_ARG_CTX_SIZE
--kv-unified-per-slot | int | LLAMA_ARG_KV_UNIFIED_PER_SLOT
-n --predict --n-predict | int | LLAMA_ARG_N_PREDICT
-b --batch-size | int | LLAMA_ARG_BATCH
-ub --ubatch-size | int | LLAMA_ARG_UBATCH
--keep | int
--swa-full | flag | LLAMA_ARG_SWA_FULL
-ctxcp --ctx-checkpoints --swa-checkpoints | int | LLAMA_ARG_CTX_CHECKPOINTS
-cms --checkpoint-min-step | int | LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT
-cram --cache-ram | int | LLAMA_ARG_CACHE_RAM
-kvu --kv-unified / -no-kvu --no-kv-unified | switch | LLAMA_ARG_KV_UNIFIED
--cache-idle-slots / --no-cache-idle-slots | switch | LLAMA_ARG_CACHE_IDLE_SLOTS
--context-shift / --no-context-shift | switch | LLAMA_ARG_CONTEXT_SHIFT
-fa --flash-attn | text | LLAMA_ARG_FLASH_ATTN
--perf / --no-perf | switch | LLAMA_ARG_PERF
-e --escape / --no-escape | switch
-r --reverse-prompt | text
-sp --special | flag
--warmup / --no-warmup | switch
--spm-infill | flag
--samplers | text
-s --seed | uint
--sampler-seq --sampling-seq | text
--ignore-eos | flag
--temp --temperature | float | LLAMA_ARG_TEMPERATURE
--top-k | int | LLAMA_ARG_TOP_K
--top-p | float | LLAMA_ARG_TOP_P
--min-p | float | LLAMA_ARG_MIN_P
--top-nsigma --top-n-sigma | float
--xtc-probability | float
--xtc-threshold | float
--typical --typical-p | float
--repeat-last-n | int
--repeat-penalty | float | LLAMA_ARG_REPEAT_PENALTY
--presence-penalty | float | LLAMA_ARG_PRESENCE_PENALTY
--frequency-penalty | float | LLAMA_ARG_FREQUENCY_PENALTY
--dry-multiplier | float
--dry-base | float
--dry-allowed-length | int
--dry-penalty-last-n | int
--dry-sequence-breaker | text
--adaptive-target | float
--adaptive-decay | float
--dynatemp-range | float
--dynatemp-exp | float
--mirostat | int
--mirostat-lr | float
--mirostat-ent | float
-l --logit-bias | text
--grammar | text
--grammar-file | text
-j --json-schema | text
-jf --json-schema-file | text
-bs --backend-sampling | flag | LLAMA_ARG_BACKEND_SAMPLING
--pooling | text | LLAMA_ARG_POOLING
--rope-scaling | text | LLAMA_ARG_ROPE_SCALING_TYPE
--rope-scale | float | LLAMA_ARG_ROPE_SCALE
--rope-freq-base | float | LLAMA_ARG_ROPE_FREQ_BASE
--rope-freq-scale | float | LLAMA_ARG_ROPE_FREQ_SCALE
--yarn-orig-ctx | int | LLAMA_ARG_YARN_ORIG_CTX
--yarn-ext-factor | float | LLAMA_ARG_YARN_EXT_FACTOR
--yarn-attn-factor | float | LLAMA_ARG_YARN_ATTN_FACTOR
--yarn-beta-slow | float | LLAMA_ARG_YARN_BETA_SLOW
--yarn-beta-fast | float | LLAMA_ARG_YARN_BETA_FAST
-kvo --kv-offload / -nkvo --no-kv-offload | switch | LLAMA_ARG_KV_OFFLOAD
--repack / -nr --no-repack | switch | LLAMA_ARG_REPACK
--no-host | flag | LLAMA_ARG_NO_HOST
-ctk --cache-type-k | text | LLAMA_ARG_CACHE_TYPE_K
-ctv --cache-type-v | text | LLAMA_ARG_CACHE_TYPE_V
-dt --defrag-thold | text | LLAMA_ARG_DEFRAG_THOLD
-np --parallel | int | LLAMA_ARG_N_PARALLEL
-cb --cont-batching / -nocb --no-cont-batching | switch | LLAMA_ARG_CONT_BATCHING
-mm --mmproj | text | LLAMA_ARG_MMPROJ
-mmu --mmproj-url | text | LLAMA_ARG_MMPROJ_URL
--mmproj-auto / --no-mmproj --no-mmproj-auto | switch | LLAMA_ARG_MMPROJ_AUTO
--mmproj-offload / --no-mmproj-offload | switch | LLAMA_ARG_MMPROJ_OFFLOAD
-mmdev --mmproj-device | text | MTMD_BACKEND_DEVICE
--image-min-tokens | int | LLAMA_ARG_IMAGE_MIN_TOKENS
--image-max-tokens | int | LLAMA_ARG_IMAGE_MAX_TOKENS
--mtmd-batch-max-tokens | int | LLAMA_ARG_MTMD_BATCH_MAX_TOKENS
--video-fps | float | LLAMA_ARG_VIDEO_FPS
--video-timestamp-interval | int | LLAMA_ARG_VIDEO_TIMESTAMP_INTERVAL
--video-ffmpeg-dir | text | LLAMA_ARG_VIDEO_FFMPEG_DIR
--rpc | text | LLAMA_ARG_RPC
-lm --load-mode | text | LLAMA_ARG_LOAD_MODE
-lzm --lazy-mode | text | LLAMA_ARG_LAZY_MODE
--numa | text | LLAMA_ARG_NUMA
-dev --device | text | LLAMA_ARG_DEVICE
--list-devices | flag
-ot --override-tensor | text | LLAMA_ARG_OVERRIDE_TENSOR
-cmoe --cpu-moe | flag | LLAMA_ARG_CPU_MOE
-ncmoe --n-cpu-moe | int | LLAMA_ARG_N_CPU_MOE
-ncffn --n-cpu-ffn | int | LLAMA_ARG_N_CPU_FFN
-ngl --gpu-layers --n-gpu-layers | layers | LLAMA_ARG_N_GPU_LAYERS
-sm --split-mode | text | LLAMA_ARG_SPLIT_MODE
-ts --tensor-split | text | LLAMA_ARG_TENSOR_SPLIT
-mg --main-gpu | int | LLAMA_ARG_MAIN_GPU
-fit --fit | text | LLAMA_ARG_FIT
-fitt --fit-target | text | LLAMA_ARG_FIT_TARGET
-fitc --fit-ctx | int | LLAMA_ARG_FIT_CTX
--check-tensors | flag
--override-kv | text
--op-offload / --no-op-offload | switch
--lora | text
--lora-scaled | text
--control-vector | text
--control-vector-scaled | text
--control-vector-layer-range | pair
-a --alias | text | LLAMA_ARG_ALIAS
--tags | text | LLAMA_ARG_TAGS
-m --model | text | LLAMA_ARG_MODEL
-mu --model-url | text | LLAMA_ARG_MODEL_URL
-dr --docker-repo | text | LLAMA_ARG_DOCKER_REPO
-hf -hfr --hf-repo | text | LLAMA_ARG_HF_REPO
-hff --hf-file | text | LLAMA_ARG_HF_FILE
-hft --hf-token | text | HF_TOKEN
--embd-normalize | int
--host | text | LLAMA_ARG_HOST
--port | int | LLAMA_ARG_PORT
--reuse-port | flag | LLAMA_ARG_REUSE_PORT
--path | text | LLAMA_ARG_STATIC_PATH
--cors-origins | text | LLAMA_ARG_CORS_ORIGINS
--cors-methods | text | LLAMA_ARG_CORS_METHODS
--cors-headers | text | LLAMA_ARG_CORS_HEADERS
--cors-credentials / --no-cors-credentials | switch | LLAMA_ARG_CORS_CREDENTIALS
--api-prefix | text | LLAMA_ARG_API_PREFIX
--ui-config --webui-config | text | LLAMA_ARG_UI_CONFIG
--ui-config-file --webui-config-file | text | LLAMA_ARG_UI_CONFIG_FILE
--ui-mcp-proxy --webui-mcp-proxy / --no-ui-mcp-proxy --no-webui-mcp-proxy | switch | LLAMA_ARG_UI_MCP_PROXY
--tools | text | LLAMA_ARG_TOOLS
--tools-runtime | text | LLAMA_ARG_TOOLS_RUNTIME
--mcp-servers-config | text | LLAMA_ARG_MCP_SERVERS_CONFIG
--mcp-servers-json | text | LLAMA_ARG_MCP_SERVERS_JSON
-ag --agent / -no-ag --no-agent | switch | LLAMA_ARG_AGENT
--ui --webui / --no-ui --no-webui | switch | LLAMA_ARG_UI
--embedding --embeddings | flag | LLAMA_ARG_EMBEDDINGS
--rerank --reranking | flag | LLAMA_ARG_RERANKING
--api-key | text | LLAMA_API_KEY
--api-key-file | text | LLAMA_ARG_API_KEY_FILE
--ssl-key-file | text | LLAMA_ARG_SSL_KEY_FILE
--ssl-cert-file | text | LLAMA_ARG_SSL_CERT_FILE
--chat-template-kwargs | text | LLAMA_ARG_CHAT_TEMPLATE_KWARGS
-to --timeout | int | LLAMA_ARG_TIMEOUT
--sse-ping-interval | int | LLAMA_ARG_SSE_PING_INTERVAL
--threads-http | int | LLAMA_ARG_THREADS_HTTP
--cache-prompt / --no-cache-prompt | switch | LLAMA_ARG_CACHE_PROMPT
--cache-reuse | int | LLAMA_ARG_CACHE_REUSE
--metrics | flag | LLAMA_ARG_ENDPOINT_METRICS
--props | flag | LLAMA_ARG_ENDPOINT_PROPS
--slots / --no-slots | switch | LLAMA_ARG_ENDPOINT_SLOTS
--slot-save-path | text
--media-path | text
--models-dir | text | LLAMA_ARG_MODELS_DIR
--models-preset | text | LLAMA_ARG_MODELS_PRESET
--models-max | int | LLAMA_ARG_MODELS_MAX
--models-autoload / --no-models-autoload | switch | LLAMA_ARG_MODELS_AUTOLOAD
--jinja / --no-jinja | switch | LLAMA_ARG_JINJA
--reasoning-format | text | LLAMA_ARG_THINK
-rea --reasoning | text | LLAMA_ARG_REASONING
--reasoning-effort | text | LLAMA_ARG_REASONING_EFFORT
--reasoning-budget | int | LLAMA_ARG_THINK_BUDGET
--reasoning-budget-message | text | LLAMA_ARG_THINK_BUDGET_MESSAGE
--reasoning-preserve / --no-reasoning-preserve | switch | LLAMA_ARG_REASONING_PRESERVE
--chat-template | text | LLAMA_ARG_CHAT_TEMPLATE
--chat-template-file | text | LLAMA_ARG_CHAT_TEMPLATE_FILE
--skip-chat-parsing / --no-skip-chat-parsing | switch | LLAMA_ARG_SKIP_CHAT_PARSING
--prefill-assistant / --no-prefill-assistant | switch | LLAMA_ARG_PREFILL_ASSISTANT
-sps --slot-prompt-similarity | float
--lora-init-without-apply | flag
--sleep-idle-seconds | int
--log-disable | flag
--log-file | text | LLAMA_ARG_LOG_FILE
--log-jsonl / --no-log-jsonl | switch | LLAMA_ARG_LOG_JSONL
--log-prompts-dir | text
--log-colors | text | LLAMA_ARG_LOG_COLORS
-v --verbose --log-verbose | flag
--offline | flag | LLAMA_ARG_OFFLINE
-lv --verbosity --log-verbosity | int | LLAMA_ARG_LOG_VERBOSITY
--log-prefix / --no-log-prefix | switch | LLAMA_ARG_LOG_PREFIX
--log-timestamps / --no-log-timestamps | switch | LLAMA_ARG_LOG_TIMESTAMPS
--spec-draft-hf -hfd -hfrd --hf-repo-draft | text | LLAMA_ARG_SPEC_DRAFT_HF_REPO
--spec-draft-threads -td --threads-draft | int
--spec-draft-threads-batch -tbd --threads-batch-draft | int
--spec-draft-cpu-mask -Cd --cpu-mask-draft | text
--spec-draft-cpu-range -Crd --cpu-range-draft | text
--spec-draft-cpu-strict --cpu-strict-draft | int
--spec-draft-prio --prio-draft | int
--spec-draft-poll --poll-draft | int
--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft | text
--spec-draft-cpu-strict-batch --cpu-strict-batch-draft | int
--spec-draft-prio-batch --prio-batch-draft | int
--spec-draft-poll-batch --poll-batch-draft | int
--spec-draft-type-k -ctkd --cache-type-k-draft | text | LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K
--spec-draft-type-v -ctvd --cache-type-v-draft | text | LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V
--spec-draft-override-tensor -otd --override-tensor-draft | text
--spec-draft-cpu-moe -cmoed --cpu-moe-draft | flag | LLAMA_ARG_SPEC_DRAFT_CPU_MOE
--spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed --n-cpu-moe-draft | int | LLAMA_ARG_SPEC_DRAFT_N_CPU_MOE
--spec-draft-n-max | int | LLAMA_ARG_SPEC_DRAFT_N_MAX
--spec-draft-n-min | int | LLAMA_ARG_SPEC_DRAFT_N_MIN
--spec-synth-len | text | LLAMA_ARG_SPEC_SYNTH_LEN
--spec-synth-rates | text | LLAMA_ARG_SPEC_SYNTH_RATES
--spec-draft-p-split --draft-p-split | float | LLAMA_ARG_SPEC_DRAFT_P_SPLIT
--spec-draft-p-min --draft-p-min | float | LLAMA_ARG_SPEC_DRAFT_P_MIN
--spec-draft-backend-sampling / --no-spec-draft-backend-sampling | switch | LLAMA_ARG_SPEC_DRAFT_BACKEND_SAMPLING
--spec-draft-sampling | text | LLAMA_ARG_SPEC_DRAFT_SAMPLING
--spec-draft-device -devd --device-draft | text
--spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft | layers | LLAMA_ARG_N_GPU_LAYERS_DRAFT
--spec-draft-model -md --model-draft | text | LLAMA_ARG_SPEC_DRAFT_MODEL
--spec-type | text | LLAMA_ARG_SPEC_TYPE
--spec-ngram-mod-n-min | int
--spec-ngram-mod-n-max | int
--spec-ngram-mod-n-match | int
--spec-ngram-simple-size-n | int
--spec-ngram-simple-size-m | int
--spec-ngram-simple-min-hits | int
--spec-ngram-map-k-size-n | int
--spec-ngram-map-k-size-m | int
--spec-ngram-map-k-min-hits | int
--spec-ngram-map-k4v-size-n | int
--spec-ngram-map-k4v-size-m | int
--spec-ngram-map-k4v-min-hits | int
--draft --draft-n --draft-max | removed | LLAMA_ARG_DRAFT_MAX
--draft-min --draft-n-min | removed | LLAMA_ARG_DRAFT_MIN
--spec-ngram-size-n | removed
--spec-ngram-size-m | removed
--spec-ngram-min-hits | removed
--embd-gemma-default | flag
--fim-qwen-1.5b-default | flag
--fim-qwen-3b-default | flag
--fim-qwen-7b-default | flag
--fim-qwen-7b-spec | flag
--fim-qwen-14b-spec | flag
--fim-qwen-30b-default | flag
--gpt-oss-20b-default | flag
--gpt-oss-120b-default | flag
--vision-gemma-4b-default | flag
--vision-gemma-12b-default | flag
--spec-default | flag
"""


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option. `name` is its first long spelling; `negatives` switch it off; `kind` says what it takes.

    Nothing: "flag" (on only), "switch"; two words: "pair"; else one: int, uint, float, layers, text, removed."""

    name: str
    spellings: tuple[str, ...]
    negatives: tuple[str, ...]
    kind: str
    variable: str | None

    @property
    def values(self) -> int:
        """How many words it takes on the command line."""
        return 0 if self.kind in {"flag", "switch"} else 2 if self.kind == "pair" else 1


def _parsed(line: str) -> OptionSpec:
    words, kind, *variable = line.split(" | ")
    positive, _, negative = words.partition(" / ")
    spellings = tuple(positive.split())
    name = next(word for word in spellings if word.startswith("--"))[2:]
    return OptionSpec(name, spellings, tuple(negative.split()), kind, variable[0] if variable else None)


OPTIONS: Mapping[str, OptionSpec] = {spec.name: spec for spec in map(_parsed, _TABLE.splitlines())}
"""By canonical name, in the program's own order, which is the order it reads variables in."""

BY_SPELLING: Mapping[str, tuple[OptionSpec, bool]] = {
    word: (spec, word not in spec.negatives) for spec in OPTIONS.values() for word in spec.spellings + spec.negatives
}
"""Spelling as typed -> the option, and whether this spelling switches it on."""

CUSTOMARY = {
    "--ctx-size": "-c",
    "--parallel": "-np",
    "--gpu-layers": "-ngl",
    "--ubatch-size": "-ub",
    "--spec-draft-type-k": "-ctkd",
    "--spec-draft-type-v": "-ctvd",
}
"""Short spellings that most people type."""
