"""What llama-server b11434 does with the values of its options beyond their kind: choices, ranges, shorthands, secrets.

Measured on the program; the places are the handlers in common/arg.cpp.
"""

from collections.abc import Mapping

TRUE, FALSE, AUTO = (
    frozenset({"on", "enabled", "true", "1"}),
    frozenset({"off", "disabled", "false", "0"}),
    frozenset({"auto", "-1"}),
)
"""Words of `is_truthy`, `is_falsey` and `is_autoy`. Case matters: "ON" is refused."""

CHOICES: Mapping[str, frozenset[str]] = {
    "rope-scaling": frozenset({"none", "linear", "yarn"}),
    "load-mode": frozenset({"auto", "none", "mmap", "mlock", "mmap+mlock", "dio"}),
    "lazy-mode": frozenset({"on", "auto", "off"}),
    "split-mode": frozenset({"none", "layer", "row", "tensor"}),
    "pooling": frozenset({"none", "mean", "cls", "last", "rank"}),
    "numa": frozenset({"", "distribute", "isolate", "numactl"}),
}
"""Anything else is "invalid value"."""

SPECULATIVE_TYPES = frozenset(
    {"none", "draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark"}
    | {"ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache"}
)

_NOTHING_BELOW = -(2**31)
_NOTHING_ABOVE = 2**31 - 1

RANGES: Mapping[str, tuple[int, int, str]] = {
    **dict.fromkeys(
        ("n-cpu-moe", "n-cpu-ffn", "spec-draft-n-cpu-moe", "spec-draft-n-max"), (0, _NOTHING_ABOVE, "invalid value")
    ),
    **dict.fromkeys(("prio-batch", "spec-draft-prio", "spec-draft-prio-batch"), (0, 3, "invalid value")),
    "prio": (-1, 3, "invalid value"),
    "reasoning-budget": (-1, _NOTHING_ABOVE, "invalid value"),
    "checkpoint-min-step": (0, _NOTHING_ABOVE, "checkpoint-min-step must be non-negative"),
    "spec-ngram-mod-n-min": (0, 1024, "ngram n-min must be between 0 and 1024 inclusive"),
    "spec-ngram-mod-n-max": (0, 1024, "ngram n-max must be between 0 and 1024 inclusive"),
    **{
        f"spec-ngram-{name}": (1, 1024, "ngram size N must be between 1 and 1024 inclusive")
        for name in ("mod-n-match", "simple-size-n", "map-k-size-n", "map-k4v-size-n")
    },
    **{
        f"spec-ngram-{name}-size-m": (1, 1024, "ngram size M must be between 1 and 1024 inclusive")
        for name in ("simple", "map-k", "map-k4v")
    },
    **{
        f"spec-ngram-{name}-min-hits": (1, _NOTHING_ABOVE, "ngram min hits must be at least 1")
        for name in ("simple", "map-k", "map-k4v")
    },
}
"""Least and greatest value, and the words for any other."""

REMOVED: Mapping[str, str] = {
    "draft": "use --spec-draft-n-max or --spec-ngram-mod-n-max",
    "draft-min": "use --spec-draft-n-min or --spec-ngram-mod-n-min",
    "spec-ngram-size-n": "use the respective --spec-ngram-*-size-n",
    "spec-ngram-size-m": "use the respective --spec-ngram-*-size-m",
    "spec-ngram-min-hits": "use the respective --spec-ngram-*-min-hits",
}

_QWEN = (("batch-size", "1024"), ("ubatch-size", "1024"), ("ctx-size", "0"))
_SMALL_DRAFT = ("spec-draft-hf", "ggml-org/Qwen2.5-Coder-0.5B-Q8_0-GGUF")
_GPT_OSS = (("batch-size", "32768"), ("ubatch-size", "2048"), ("parallel", "2"), ("ctx-size", "262144"))
SHORTHANDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "embd-gemma-default": (
        ("hf-repo", "ggml-org/embeddinggemma-300M-qat-q4_0-GGUF"),
        ("hf-file", "embeddinggemma-300M-qat-Q4_0.gguf"),
        ("port", "8011"),
        ("batch-size", "2048"),
        ("ubatch-size", "2048"),
        ("parallel", "32"),
        ("ctx-size", "65536"),
        ("embedding", "true"),
    ),
    **{
        f"fim-qwen-{size}": (
            ("hf-repo", f"ggml-org/{repository}-Q8_0-GGUF"),
            ("hf-file", f"{repository.lower()}-q8_0.gguf"),
            ("port", "8012"),
            *_QWEN,
        )
        for size, repository in (
            ("1.5b-default", "Qwen2.5-Coder-1.5B"),
            ("3b-default", "Qwen2.5-Coder-3B"),
            ("7b-default", "Qwen2.5-Coder-7B"),
            ("30b-default", "Qwen3-Coder-30B-A3B-Instruct"),
        )
    },
    **{
        f"fim-qwen-{size}b-spec": (
            ("hf-repo", f"ggml-org/Qwen2.5-Coder-{size.upper()}B-Q8_0-GGUF"),
            ("hf-file", f"qwen2.5-coder-{size}b-q8_0.gguf"),
            _SMALL_DRAFT,
            ("port", "8012"),
            *_QWEN,
        )
        for size in ("7", "14")
    },
    "gpt-oss-20b-default": (
        ("hf-repo", "ggml-org/gpt-oss-20b-GGUF"),
        ("hf-file", "gpt-oss-20b-mxfp4.gguf"),
        ("port", "8013"),
        *_GPT_OSS,
    ),
    "gpt-oss-120b-default": (("hf-repo", "ggml-org/gpt-oss-120b-GGUF"), ("port", "8013"), *_GPT_OSS),
    "vision-gemma-4b-default": (
        ("hf-repo", "ggml-org/gemma-3-4b-it-qat-GGUF"),
        ("port", "8014"),
        ("ctx-size", "0"),
    ),
    "vision-gemma-12b-default": (
        ("hf-repo", "ggml-org/gemma-3-12b-it-qat-GGUF"),
        ("port", "8014"),
        ("ctx-size", "0"),
    ),
    "spec-default": (("spec-type", "ngram-mod"),),
}
"""One flag that stands for several options, as far as they matter to memory or to finding the server."""

ADDED_UP = frozenset(
    {"lora", "lora-scaled", "override-kv", "override-tensor", "spec-draft-override-tensor", "spec-type"}
)
"""Every mention counts, wherever it stands; of all other options the last word counts."""

GREATEST = frozenset({"n-cpu-moe", "n-cpu-ffn", "spec-draft-n-cpu-moe"})
"""Each mention adds overrides for the first N layers, so the greatest N counts."""

SECRETS = frozenset({"api-key", "api-key-file", "hf-token", "ssl-key-file", "mcp-servers-json", "mcp-servers-config"})
"""Options whose values are, or lead to, keys. Never kept."""

PRIVATE = frozenset(
    {"chat-template", "chat-template-kwargs", "grammar", "json-schema", "logit-bias", "reverse-prompt", "ui-config"}
    | {"reasoning-budget-message", "control-vector", "dry-sequence-breaker"}
)
"""Options whose values are content: that they were given is kept, what was given is not."""
