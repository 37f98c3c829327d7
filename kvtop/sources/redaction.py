"""What may enter kvtop at all: secrets are masked and control characters removed before anything else sees a text."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from kvtop.sources.kept_flags import KEPT_FLAGS, KEPT_JSON_KEYS
from kvtop.text import TEXT_LIMIT, without_controls

__all__ = ["MASK", "TEXT_LIMIT", "allowed_environment", "clean", "clean_value", "is_secret_name", "masked_argv"]

MASK = "***"
_LOOKED_AT = 20 * TEXT_LIMIT
_VALUE_LIMIT = 64 * 1024

_SECRET_FLAGS = (
    *("api-key", "admin-api-key", "hf-token", "token", "auth-token", "password", "adminpassword", "hordekey"),
    *("ngrok-authtoken", "gradio-auth", "otlp-headers", "otlp-traces-endpoint", "ssl-keyfile", "ssl-key-file"),
    *("ssl-certfile", "ssl-cert-file", "allowed-origins", "api-key-file", "kv-transfer-config", "additional-config"),
    *("model-loader-extra-config", "chat-template", "system-prompt", "system-prompt-file", "prompt", "header"),
    *("mcp-servers-json", "mcp-servers-config", "chat-template-kwargs"),
)
_SECRET_SHORT = frozenset({"-hft", "-p", "-sys"})
_SECRET_WORD = re.compile(r"(?i)key|token(?!s|iz)|secret|passw|cred|auth|cookie|session|private")
_TOKEN = re.compile(
    r"hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|nvapi-[A-Za-z0-9_-]{8,}|A(?:KIA|SIA)[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}"
    r"|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$)"
    # A long run of small, large and digits without a separator is no word of any language.
    r"|\b(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{32,}",
    re.DOTALL,
)
_USERINFO = re.compile(r"(?<=://)(?:[^/\s?#]*@|[^/\s?#@]*:[^/\s?#@]*[^\d\s/?#@][^\s@]*@)")
_QUERY = re.compile(
    r"(?i)\b((?:[a-z_-]*(?:token|key|secret|password|credential)|sig|x-amz-[a-z-]+|(?:x-amz-)?signature)=)[^&\s]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_FLAG = re.compile(r"--?[A-Za-z][\w.-]{0,63}")
_PLAIN_VALUE = re.compile(r"(?i)[+-]?\d{1,15}(?:\.\d{1,9})?(?:[kmgt]i?b?)?|on|off|true|false|auto|none|all|yes|no")

_ENVIRONMENT = """
CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE
XDG_CACHE_HOME XDG_CONFIG_HOME HOME LLAMA_CACHE PYTORCH_CUDA_ALLOC_CONF OLLAMA_KV_CACHE_TYPE OLLAMA_FLASH_ATTENTION
OLLAMA_NUM_PARALLEL OLLAMA_CONTEXT_LENGTH OLLAMA_MAX_LOADED_MODELS OLLAMA_KEEP_ALIVE OLLAMA_GPU_OVERHEAD
OLLAMA_SCHED_SPREAD OLLAMA_HOST OLLAMA_MODELS VLLM_ATTENTION_BACKEND VLLM_USE_V1 VLLM_CPU_KVCACHE_SPACE
VLLM_WORKER_MULTIPROC_METHOD VLLM_ENABLE_V1_MULTIPROCESSING VLLM_ALLOW_LONG_MAX_MODEL_LEN VLLM_PP_LAYER_PARTITION
VLLM_MLA_DISABLE VLLM_KV_CACHE_LAYOUT VLLM_BATCH_INVARIANT VLLM_USE_V2_MODEL_RUNNER
VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE KVTOP_REPORT_FILE LLAMA_ATTN_ROT_DISABLE
"""
ENVIRONMENT_ALLOWED = frozenset(_ENVIRONMENT.split())
ENVIRONMENT_PREFIXES = ("LLAMA_ARG_", "GGML_")
_ENVIRONMENT_REFUSED = re.compile(r"(?i)key|token|secret|passw|cred|auth|cookie|private|template|mcp_servers|ui_config")


@lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """A text from outside, safe to draw: no control or bidi characters, no known tokens, a bounded length."""
    # Masked before it is cut: half a token would no longer look like one.
    masked = _masked(without_controls(text[:_LOOKED_AT]))
    return masked if len(masked) <= TEXT_LIMIT else f"{masked[: TEXT_LIMIT - 1]}…"


def clean_value(name: str, value: str) -> str:
    """The value of a launch option, whole as far as rules may need it: secrets masked, JSON by its keys.

    `name` is without dashes. Not cut at TEXT_LIMIT: a list of overrides decides memory to its end.
    """
    if is_secret_name(name):
        return MASK
    text = without_controls(value[:_VALUE_LIMIT])
    return _clean_json(text) if text.lstrip().startswith(("{", "[")) else _masked(text)


def is_secret_name(name: str) -> bool:
    """Whether an option of that name (without dashes) holds a secret or somebody's words."""
    name = name.replace("_", "-").lower()
    return name in _SECRET_FLAGS or (name not in KEPT_FLAGS and _SECRET_WORD.search(name) is not None)


def _masked(text: str) -> str:
    masked = _QUERY.sub(rf"\1{MASK}", _USERINFO.sub(f"{MASK}@", text))
    return _TOKEN.sub(MASK, _BEARER.sub(rf"\1 {MASK}", masked))


def _clean_json(text: str) -> str:
    """Numbers and truth values stay, texts only under keys known to hold no secret; what is no JSON is masked."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return MASK
    return json.dumps(_clean_item(value, keep=False))


def _clean_item(value: object, *, keep: bool) -> object:
    if isinstance(value, dict):
        return {
            _masked(str(key)): _clean_item(item, keep=keep or key in KEPT_JSON_KEYS)
            if _SECRET_WORD.search(str(key)) is None
            else MASK
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_clean_item(item, keep=keep) for item in value]
    if isinstance(value, str):
        return _masked(value) if keep else MASK
    return value


def masked_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line whose values are shown only where their flag is known to be harmless (`kept_flags`).

    Other flags keep their name, and lose their values however many there are, unless a value is a plain number or
    switch. Abbreviations of secret flags count (`--api-k`, argparse accepts them), as do `=` and underscores; of those
    the next word is masked whatever it looks like.
    """
    result: list[str] = []
    is_hidden = is_secret = False
    for word in argv:
        name, equals, value = word.partition("=")
        if is_secret or _FLAG.fullmatch(name) is None:
            result.append(_shown_value(word, is_hidden=is_hidden, is_secret=is_secret))
            is_secret = False
            continue
        is_secret = _is_secret_flag(name)
        key = name.lstrip("-").replace("_", "-")
        is_hidden = is_secret or key not in KEPT_FLAGS
        if equals:
            shown = _shown_value(value, is_hidden=is_hidden, is_secret=is_secret)
            result.append(f"{_masked(name)}={shown}")
            is_hidden, is_secret = False, False
        else:
            result.append(_masked(name))
        if _is_secret_flag(name):
            # Several values may follow (vLLM's --api-key); none of them may be a number either.
            is_hidden = True
    return tuple(result)


def _shown_value(word: str, *, is_hidden: bool, is_secret: bool) -> str:
    if is_secret or (is_hidden and _PLAIN_VALUE.fullmatch(word) is None):
        return MASK
    return _clean_json(word) if word.lstrip().startswith(("{", "[")) else clean(word)


def _is_secret_flag(word: str) -> bool:
    if word in _SECRET_SHORT:
        return True
    if not word.startswith("--"):
        return False
    name = word[2:].replace("_", "-")
    if name in KEPT_FLAGS or len(name) < 4:
        return False
    return is_secret_name(name) or any(flag.startswith(name) for flag in _SECRET_FLAGS if flag != "token")


def allowed_environment(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that decide memory, sorted by name; everything else never enters kvtop."""
    return tuple(
        sorted(
            (name, clean(value))
            for name, value in environ.items()
            if (name in ENVIRONMENT_ALLOWED or name.startswith(ENVIRONMENT_PREFIXES))
            and not _ENVIRONMENT_REFUSED.search(name)
        )
    )
