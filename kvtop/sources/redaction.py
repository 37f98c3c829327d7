"""What may enter kvtop at all: secrets are masked and control characters removed before anything else sees a text."""

import re
from collections.abc import Mapping, Sequence

MASK = "***"
TEXT_LIMIT = 400
"""Characters kept of any one text from outside: a model may be named with a megabyte."""

_LOOKED_AT = 20 * TEXT_LIMIT

_SECRET_FLAGS = (
    *("api-key", "admin-api-key", "hf-token", "token", "auth-token", "password", "adminpassword", "hordekey"),
    *("ngrok-authtoken", "gradio-auth", "otlp-headers", "otlp-traces-endpoint", "ssl-keyfile", "ssl-key-file"),
    *("api-key-file", "kv-transfer-config", "model-loader-extra-config", "additional-config", "hf-overrides"),
    *("chat-template", "system-prompt", "prompt", "header", "mcp-servers-json", "chat-template-kwargs"),
)
_SECRET_SHORT = frozenset({"-hft", "-p", "-sys"})
_MANY_VALUES = frozenset({"api-key"})
_TOKEN = re.compile(
    r"hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|nvapi-[A-Za-z0-9_-]{8,}|AKIA[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|github_pat_[A-Za-z0-9_]{16,}|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(?i)\b((?:token|key|api_key|sig|signature|x-amz-signature)=)[^&\s]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

ENVIRONMENT_ALLOWED = frozenset(
    {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_CACHE"}
    | {"HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HOME", "LLAMA_CACHE", "PYTORCH_CUDA_ALLOC_CONF"}
)
ENVIRONMENT_PREFIXES = ("LLAMA_ARG_", "GGML_")
_ENVIRONMENT_REFUSED = re.compile(r"(?i)key|token|secret|passw|cred|auth|cookie|private|template|mcp_servers|ui_config")


def clean(text: str) -> str:
    """A text from outside, safe to draw: no control or bidi characters, no known tokens, a bounded length."""
    # Masked before it is cut: half a token would no longer look like one.
    short = _CONTROL.sub("\ufffd", text[:_LOOKED_AT])
    masked = _TOKEN.sub(MASK, _QUERY.sub(rf"\1{MASK}", _USERINFO.sub(f"{MASK}@", short)))
    return masked if len(masked) <= TEXT_LIMIT else f"{masked[: TEXT_LIMIT - 1]}…"


def masked_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line without the values of secret flags, however they are spelled.

    Abbreviations count (`--api-k`, argparse accepts them), as do `=`, underscores and several values. Values that are
    themselves secret options of nothing pass through `clean`, which masks tokens and URL passwords anywhere.
    """
    result: list[str] = []
    hide = 0
    for word in argv:
        is_flag = word.startswith("-") and not word.lstrip("-")[:1].isdigit()
        if hide and not (is_flag and word.startswith("--")):
            result.append(MASK)
            hide = hide if hide > 1 else 0
            continue
        hide = 0
        name, equals, _ = word.partition("=")
        secret = _is_secret(name)
        if secret is None:
            result.append(clean(word))
        elif equals:
            result.append(f"{name}={MASK}")
        else:
            result.append(name)
            hide = 2 if secret in _MANY_VALUES else 1
    return tuple(result)


def _is_secret(word: str) -> str | None:
    if word in _SECRET_SHORT:
        return word
    if not word.startswith("--"):
        return None
    name = word[2:].replace("_", "-")
    if len(name) < 4:
        return None
    for flag in _SECRET_FLAGS:
        if flag == name or (flag.startswith(name) and flag != "token"):
            return flag
    return None


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
