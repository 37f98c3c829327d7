"""Model families that quantized caches are known to hurt, by the file's own word, else by its name."""

import re

from kvtop.analysis.lint.target import LintTarget

_BY_ARCHITECTURE = {
    "gemma4": "Gemma 4",
    "gpt-oss": "gpt-oss",
    "qwen2": "Qwen2/2.5",
    "qwen2vl": "Qwen2/2.5",
    "deepseek2": "latent attention",
    "deepseek4": "latent attention",
    "deepseek32": "latent attention",
    "glm-dsa": "latent attention",
}
_BY_NAME = (
    (re.compile(r"gpt[-_ ]?oss", re.IGNORECASE), "gpt-oss"),
    (re.compile(r"gemma[-_ ]?4(?!\d)", re.IGNORECASE), "Gemma 4"),
    (re.compile(r"qwen[-_ ]?2(?:\.5)?(?![\d.])|distill[-_ ]qwen[-_ ](?!3)|\bqwq", re.IGNORECASE), "Qwen2/2.5"),
    (
        re.compile(r"deepseek[-_ ]?(?:v[23]|r1)(?!.*distill)|kimi[-_ ]?k2|glm[-_ ]?4\.7[-_ ]?flash", re.IGNORECASE),
        "latent attention",
    ),
)
SENSITIVE_AT_ALL = frozenset({"Gemma 4", "gpt-oss"})
"""Families whose output changes measurably even with 8 bits."""
_SPARED = re.compile(r"distill[-_ ](?:llama|qwen)", re.IGNORECASE)


def family_of(target: LintTarget) -> tuple[str | None, str]:
    """The family and how it is known ("architecture gpt-oss", "its name"); (None, "") where none is recognised."""
    hparams = target.hparams
    architecture = hparams.arch if hparams is not None else target.header.architecture if target.header else None
    if architecture is not None:
        if hparams is not None and hparams.is_mla:
            return "latent attention", f"architecture {architecture}"
        if hparams is not None and architecture in {"deepseek2", "deepseek32", "glm-dsa"}:
            return None, ""
        return _BY_ARCHITECTURE.get(architecture), f"architecture {architecture}"
    for pattern, family in _BY_NAME:
        if pattern.search(target.model_name) and not (
            family == "latent attention" and _SPARED.search(target.model_name)
        ):
            return family, "the model's name"
    return None, ""
