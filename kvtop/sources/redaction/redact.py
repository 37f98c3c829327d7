"""What may enter kvtop at all: secrets are masked and control characters removed before anything else sees a text."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from kvtop.domain.compute_api import VISIBILITY_VARIABLES
from kvtop.sources.redaction.flag_allowlist import KEPT_FLAGS, KEPT_JSON_KEYS, RULED_OPTIONS
from kvtop.text import TEXT_LIMIT, without_controls

__all__ = [
    "MASK",
    "TEXT_LIMIT",
    "allowed_environment",
    "clean",
    "clean_model_text",
    "clean_value",
    "is_secret_name",
    "masked_argv",
    "masked_stranger",
]

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
_MODEL_SECRET = re.compile(
    r"(?i)api[_.-]?key|secret|passw|(?:auth|access|hf|session|bearer)[_.-]?token|credential|private[_.-]?key|cookie"
)
"""Keys of a model's files; `key_length` and `bos_token` are no secrets."""
_TOKEN = re.compile(
    r"hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|nvapi-[A-Za-z0-9_-]{8,}|A(?:KIA|SIA)[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}"
    r"|npm_[A-Za-z0-9]{16,}|dckr_pat_[A-Za-z0-9_-]{8,}|r8_[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{16,}|xai-[A-Za-z0-9]{12,}"
    r"|pplx-[A-Za-z0-9]{12,}|SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|[sr]k_live_[A-Za-z0-9]{8,}"
    r"|eyJ[A-Za-z0-9_-]{1,1024}+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]{1,40}-----.*?(?:-----END [A-Z ]+-----|$)"
    # A long run of small, large and digits without a separator is no word of any language.
    r"|\b(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{32,}",
    re.DOTALL,
)
_AUTHORITY_END = re.compile(r"[/?#\s]")
_BLANK = re.compile(r"\s")
# A megabyte of anybody's text goes through these: none may look at the same characters again from every one of them.
_QUERY = re.compile(
    r"(?i)((?:token|key|secret|password|passwd|passphrase|pass|pwd|credentials?|auth|cookie"
    r"|(?<![a-z0-9])(?:sig|signature)|x-amz-[a-z-]{1,40})=)"
    # A typed value is an override of a model's metadata (--override-kv), not a secret.
    r"(?!(?:bool|int|float):)[^&\s]+"
)
_NAMED = re.compile(
    r"(?i)((?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)[\"']?\s{0,8}:\s{0,8})"
    r"(?:\"[^\"]*\"?|'[^']*'?|[^\s,;}\]]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_FLAG = re.compile(r"--[A-Za-z][\w.-]{0,63}|-[A-Za-z][a-z]{0,4}")
"""Longer words behind one dash may be a value glued to its name (`-pSECRET`), unless they are listed."""
_URL_QUERY = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,30}://[^\s?#]+\?)[^\s#]+")
_OVERRIDDEN_TEXT = re.compile(r"(?i)(=str:)[^,]*")
_OVERRIDDEN_KEPT = "general.architecture="
_BLANKS = re.compile(r"(\s+)")
_NUMBERS_ONLY = frozenset({"c"})
"""-c is a length for a server and a whole program for a shell."""
_JSON_ONLY = frozenset({"hf-overrides", "speculative-config"})
_PLAIN_VALUE = re.compile(r"(?i)[+-]?\d{1,15}(?:\.\d{1,9})?(?:[kmgt]i?b?)?|on|off|true|false|auto|none|all|yes|no")

_SCRIPT = re.compile(r"[\w./+-]{1,200}\.(?:py|sh|pl|rb|js|lua|jl|R)")

_ENVIRONMENT = """
HSA_OVERRIDE_GFX_VERSION ONEAPI_DEVICE_SELECTOR HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE
XDG_CACHE_HOME XDG_CONFIG_HOME HOME LLAMA_CACHE PYTORCH_CUDA_ALLOC_CONF OLLAMA_KV_CACHE_TYPE OLLAMA_FLASH_ATTENTION
OLLAMA_NUM_PARALLEL OLLAMA_CONTEXT_LENGTH OLLAMA_MAX_LOADED_MODELS OLLAMA_KEEP_ALIVE OLLAMA_GPU_OVERHEAD
OLLAMA_SCHED_SPREAD OLLAMA_HOST OLLAMA_MODELS VLLM_ATTENTION_BACKEND VLLM_USE_V1 VLLM_CPU_KVCACHE_SPACE
VLLM_WORKER_MULTIPROC_METHOD VLLM_ENABLE_V1_MULTIPROCESSING VLLM_ALLOW_LONG_MAX_MODEL_LEN VLLM_PP_LAYER_PARTITION
VLLM_MLA_DISABLE VLLM_KV_CACHE_LAYOUT VLLM_BATCH_INVARIANT VLLM_USE_V2_MODEL_RUNNER
VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE KVTOP_REPORT_FILE LLAMA_ATTN_ROT_DISABLE
"""
_SECRETS = """
VLLM_API_KEY LLAMA_API_KEY SGLANG_API_KEY OLLAMA_API_KEY HF_TOKEN HUGGING_FACE_HUB_TOKEN
"""
SECRETS_TOLD = frozenset(_SECRETS.split())
"""Secrets of servers of which it is worth knowing that they are set; what they are never enters kvtop."""
SET = "<set>"
ENVIRONMENT_ALLOWED = frozenset(_ENVIRONMENT.split()) | frozenset(VISIBILITY_VARIABLES)
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
    if name not in KEPT_FLAGS and name not in RULED_OPTIONS and not _is_plain(text):
        return MASK
    if name == "override-kv" and not text.startswith(_OVERRIDDEN_KEPT):
        text = _OVERRIDDEN_TEXT.sub(rf"\1{MASK}", text)
    return _clean_json(text) if text.lstrip().startswith(("{", "[")) else _masked(text)


def _is_plain(text: str) -> bool:
    """Numbers and switches, one or several."""
    return all(_PLAIN_VALUE.fullmatch(word) is not None for word in text.replace(",", " ").split())


def clean_model_text(key: str, text: str) -> str:
    """A text of a model's configuration or metadata, whole: rules read it. Anybody may have written anything there."""
    return MASK if _MODEL_SECRET.search(key) is not None else _masked(without_controls(text))


def is_secret_name(name: str) -> bool:
    """Whether an option of that name (without dashes) holds a secret or somebody's words."""
    name = name.replace("_", "-").lower()
    return name in _SECRET_FLAGS or (name not in KEPT_FLAGS and _SECRET_WORD.search(name) is not None)


def _masked(text: str) -> str:
    bare = _URL_QUERY.sub(rf"\1{MASK}", _without_userinfo(text)) if "://" in text else text
    masked = _NAMED.sub(rf"\1{MASK}", _QUERY.sub(rf"\1{MASK}", bare))
    return _TOKEN.sub(MASK, _BEARER.sub(rf"\1 {MASK}", masked))


def _without_userinfo(text: str) -> str:
    """URLs without user and password. A password may hold a slash; what follows a colon in digits is a port."""
    pieces, at, run_end = [], 0, -1
    while (found := text.find("://", at)) >= 0:
        start = found + 3
        pieces.append(text[at:start])
        at = start
        if start > run_end:
            blank = _BLANK.search(text, start)
            run_end = len(text) if blank is None else blank.start()
        end = _AUTHORITY_END.search(text, start, run_end)
        stop = run_end if end is None else end.start()
        sign = text.rfind("@", start, stop)
        colon = text.find(":", start, stop)
        if (
            sign < 0
            and colon >= 0
            and text[start] != "["
            and not text[colon + 1 : stop].isdecimal()
            and colon + 1 < stop
        ):
            sign = text.find("@", stop, run_end)
        if sign >= 0:
            pieces.append(f"{MASK}@")
            at = sign + 1
    return "".join((*pieces, text[at:]))


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
    """A command line whose values are shown only where their flag is known to be harmless (`flag_allowlist`).

    Other flags keep their name, and lose their values however many there are, unless a value is a plain number or
    switch. Abbreviations of secret flags count (`--api-k`, argparse accepts them), as do `=` and underscores; of those
    the next word is masked whatever it looks like. A word with blanks in it is looked through as a command line: it
    may be one, of a shell or of a process that wrote its own title.
    """
    result: list[str] = []
    is_hidden = is_secret = is_json = False
    for word in argv:
        name, equals, value = word.partition("=")
        if is_secret or not _is_flag(name):
            result.append(_shown_value(word, is_hidden=is_hidden, is_secret=is_secret, is_json=is_json))
            is_secret = False
            continue
        is_secret = _is_secret_flag(name)
        key = name.lstrip("-").replace("_", "-")
        is_hidden = is_secret or key not in KEPT_FLAGS or key in _NUMBERS_ONLY
        is_json = key in _JSON_ONLY
        if equals:
            shown = _shown_value(value, is_hidden=is_hidden, is_secret=is_secret, is_json=is_json)
            result.append(f"{_masked(name)}={shown}")
            is_hidden, is_secret = False, False
        else:
            result.append(_masked(name))
        if _is_secret_flag(name):
            # Several values may follow (vLLM's --api-key); none of them may be a number either.
            is_hidden = True
    return tuple(result)


def _shown_value(word: str, *, is_hidden: bool, is_secret: bool, is_json: bool) -> str:
    if is_secret or (is_hidden and _PLAIN_VALUE.fullmatch(word) is None):
        return MASK
    if word.lstrip().startswith(("{", "[")):
        return _clean_json(word)
    if is_json and _PLAIN_VALUE.fullmatch(word) is None:
        return MASK
    parts = _BLANKS.split(word[:_LOOKED_AT])
    if len(parts) > 1:
        blanks = (*(without_controls(it) if it.isspace() and it != "\n" else " " for it in parts[1::2]), "")
        shown = (f"{part}{blank}" for part, blank in zip(masked_argv(parts[::2]), blanks, strict=True))
        return clean("".join(shown))
    # What is glued to a flag in no way that a server knows may be its value.
    flag = re.match(r"--[A-Za-z][\w-]*|-[A-Za-z]", word)
    return clean(word) if flag is None else f"{_masked(flag[0])}{MASK}"


def _is_flag(name: str) -> bool:
    return _FLAG.fullmatch(name) is not None or (name.startswith("-") and name[1:] in KEPT_FLAGS)


def masked_stranger(argv: Sequence[str]) -> tuple[str, ...]:
    """The command line of a program that is no server: its own name, its script or module, and names of options.

    Nobody knows what its other words are: the next one may be a password.
    """
    shown = list(masked_argv(argv))
    is_script = True
    for index, word in enumerate(shown[1:], 1):
        is_module = shown[index - 1] == "-m" and argv[index - 1] == "-m" and index == 2
        if _is_flag(word.partition("=")[0]) and argv[index].startswith("-"):
            if "=" in word and not _is_plain(word.partition("=")[2]):
                shown[index] = f"{word.partition('=')[0]}={MASK}"
            continue
        if is_module or (is_script and _SCRIPT.fullmatch(word) is not None):
            is_script = False
        elif not _is_plain(word):
            shown[index] = MASK
    return tuple(shown)


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
    """The variables that decide memory, sorted by name, and which secrets are set; nothing else enters kvtop."""
    kept = {
        name: clean(value) if _is_known_variable(name) or _is_plain(value) else MASK
        for name, value in environ.items()
        if (name in ENVIRONMENT_ALLOWED or name.startswith(ENVIRONMENT_PREFIXES))
        and not _ENVIRONMENT_REFUSED.search(name)
    }
    told = {name: SET for name in SECRETS_TOLD if environ.get(name)}
    return tuple(sorted({**kept, **told}.items()))


def _is_known_variable(name: str) -> bool:
    """Whether a variable's text may be shown: those listed, and llama.cpp's for options that are."""
    option = name.removeprefix("LLAMA_ARG_").lower().replace("_", "-")
    return name in ENVIRONMENT_ALLOWED or (name.startswith("LLAMA_ARG_") and option in KEPT_FLAGS | RULED_OPTIONS)
