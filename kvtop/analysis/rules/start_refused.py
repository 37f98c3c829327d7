"""The engine would not start with this command line, for a reason that no other rule tells.

Why: unknown options, values out of range and combinations that the engine checks when it builds the model all end the
process before it serves anything. The words are the engine's own.

Source: common/arg.cpp and src/llama-context.cpp of llama.cpp b11434, vLLM 0.32.0, mlx-lm 0.32.2; another version may
know an option that this one does not, and the other way round.

Cost: the server does not start.

Fix: follows from the words; `--help` of the engine lists what it takes.

Fires on: an option that llama-server does not have. Quiet on: the same without it.
"""

from kvtop.analysis.rules import bare_flash_attn_flag, cache_type_head_size, unsupported_cache_type
from kvtop.analysis.ruling import Example, Found, Outcome
from kvtop.analysis.subject import Subject

ENGINES: tuple[str, ...] = ("llama.cpp", "vllm", "mlx")
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL --draft-model DRAFT")
QUIET = Example("llama-server -m MODEL -md DRAFT")
VERSIONS = {"llama.cpp": "llama.cpp b11434", "vllm": "vLLM 0.32.0", "mlx": "mlx-lm 0.32.2"}
TOLD_ELSEWHERE = (
    "requires flash_attn to be enabled",
    cache_type_head_size.WORDS,
    "does not support different K",
    "To serve at least one request",
    "cache memory",
    "No valid attention backend",
    "FP8 KV cache is not supported",
    "RotatingKVCache",
    "last dimension",
    "group size",
    "swapaxes",
)
_HINTS = (
    ("--draft-model", "-md FILE (--model-draft)"),
    ("--quantize-kv-cache", "--kv-bits 8"),
    ("--no-mmap", "--load-mode none"),
    ("--mlock", "--load-mode mlock"),
    ("split buffers", "--split-mode layer (the default), or tensor"),
    ("--disable-log-requests", "leave it out: requests are not logged unless --enable-log-requests is given"),
    ("--swap-space", "leave it out; --kv-offloading-size keeps blocks in host memory"),
    ("--calculate-kv-scales", "leave it out; a calibrated checkpoint brings its scales"),
    ("larger than the number of available GPUs", "a smaller --tensor-parallel-size, or more cards (--gpu SPEC each)"),
    ("--max-kv-size", "leave it out: mlx_lm.server has no such option, only mlx_lm.generate does"),
)


def check(subject: Subject) -> Outcome:
    """The first complaint that is not another rule's; then the refusal of options and model together."""
    own = [it for it in subject.complaints if not _told(it)]
    words = own[0] if own else subject.refusal
    if not words or (not own and (_told(words) or _is_about_request(subject))):
        return None
    if subject.complaints and not own:
        return None
    version = VERSIONS[subject.engine]
    hint = next((fix for name, fix in _HINTS if name in words), "")
    return Found(
        "error",
        f"{version} would not start: {words}",
        evidence=words,
        cost="the server does not start",
        fix=hint or f"see the engine's --help; checked against {version}",
    )


def _told(words: str) -> bool:
    return (
        bare_flash_attn_flag.is_bare(words)
        or unsupported_cache_type.WORDS in words
        or any(known in words for known in TOLD_ELSEWHERE)
    )


def _is_about_request(subject: Subject) -> bool:
    """mlx_lm.server starts with anything; what its plan refuses is a request, and has rules of its own."""
    return subject.engine == "mlx" and not subject.complaints
