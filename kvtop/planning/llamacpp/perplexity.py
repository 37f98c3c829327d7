"""The comparison that `llama-perplexity` is asked for, and its answer (tools/perplexity/perplexity.cpp, b11434).

It runs a text twice: once with the unquantized cache, keeping the logarithms of all probabilities of the second half of
every chunk in a file, and once with other cache types, comparing with that file.
"""

import math
import re
from dataclasses import dataclass

from kvtop.domain.answers.evidence import Measurement, Tier
from kvtop.domain.launch import LaunchOptions
from kvtop.planning.llamacpp.options.table import OPTIONS
from kvtop.text import UnusableTextError

_SHARED = (
    *("swa-full", "kv-offload", "device", "override-tensor", "cpu-moe", "n-cpu-moe", "n-cpu-ffn", "gpu-layers"),
    *("split-mode", "tensor-split", "main-gpu", "load-mode", "no-host", "op-offload", "threads", "threads-batch"),
)
"""Options that decide where the model runs, not what it says; the tool has them too."""
LEAST_TOKENS = 100
"""Below so many scored tokens the tool prints no statistics."""

_ROW = re.compile(r"^ *(\d+) +[\d.]+ ± ", re.MULTILINE)
_BASE_CHUNK = re.compile(r"\[(\d+)\]")
_AMOUNT = r"\s*:\s*(-?[\d.]+(?:e-?\d+)?) ±\s*(\S+)"
_STATISTICS = {
    "kl_divergence": (re.compile(r"^Mean +KLD" + _AMOUNT, re.MULTILINE), "nats/token"),
    "same_top_token": (re.compile(r"^Same top p" + _AMOUNT, re.MULTILINE), "%"),
    "ln_perplexity_ratio": (re.compile(r"^Mean ln\(PPL\(Q\)/PPL\(base\)\)" + _AMOUNT, re.MULTILINE), "nats"),
}


@dataclass(frozen=True, slots=True)
class PerplexityRun:
    """What is run: chunks of `ctx_tokens`, of which the second half is scored."""

    model_path: str
    text_path: str
    base_path: str
    ctx_tokens: int
    chunks: int

    @property
    def scored_tokens(self) -> int:
        """Tokens that are compared."""
        return self.chunks * (self.ctx_tokens - 1 - self.ctx_tokens // 2)

    def base_bytes(self, vocabulary_words: int) -> int:
        """What the file of the first run takes: 16 bits for each word of the vocabulary and each scored token."""
        row = 2 * ((vocabulary_words + 1) // 2) + 4
        return 20 + 4 * self.chunks * self.ctx_tokens + 2 * self.scored_tokens * row


def base_arguments(asked: PerplexityRun, options: LaunchOptions) -> list[str]:
    """The first run: the reference with an f16 cache."""
    return [*_common(asked, options), "-f", asked.text_path, "--chunks", str(asked.chunks)]


def pair_arguments(asked: PerplexityRun, options: LaunchOptions, type_k: str, type_v: str) -> list[str]:
    """A run with other cache types; text and chunks are in the base file."""
    return [*_common(asked, options), "-ctk", type_k, "-ctv", type_v, "--kl-divergence"]


def _common(asked: PerplexityRun, options: LaunchOptions) -> list[str]:
    words = ["-m", asked.model_path]
    for name in _SHARED:
        spec, value = OPTIONS.get(name), options.value(name)
        if value is None or spec is None:
            continue
        if spec.values:
            words += [spec.spellings[-1], value]
        elif value == "true":
            words.append(spec.spellings[-1])
        elif spec.negatives:
            words.append(spec.negatives[-1])
    context = str(asked.ctx_tokens)
    # One chunk at a time: the tool would run several in parallel, each with a cache of its own.
    return [*words, "-fa", "on", "-c", context, "-b", context, "--kl-divergence-base", asked.base_path]


def chunks_done(printed: str) -> int:
    """How many chunks the tool has finished, from what it has printed so far."""
    found = [int(number) for number in (*_ROW.findall(printed), *_BASE_CHUNK.findall(printed))]
    return max(found, default=0)


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """Whom a measurement is about. `rotation`: "on", "off" or "unknown"; `tool`: the program and its version."""

    model: str
    architecture: str
    rotation: str
    tool: str
    year: int


def measurements(
    printed: str, asked: PerplexityRun, subject: MeasuredModel, type_k: str, type_v: str
) -> tuple[Measurement, ...]:
    """The statistics of a run. Raises ValueError where the divergence is not among them."""
    found = []
    for metric, (pattern, unit) in _STATISTICS.items():
        match = pattern.search(printed)
        if match is None:
            if metric == "kl_divergence":
                raise UnusableTextError("the tool printed no mean divergence")
            continue
        found.append(
            Measurement(
                subject.model,
                (subject.architecture,),
                type_k,
                type_v,
                subject.rotation,
                metric,
                float(match[1]),
                "",
                unit,
                "f16/f16 of the same build",
                f"kvtop quality with {subject.tool}",
                "",
                subject.year,
                Tier.OWN,
                f"± {match[2]}; {asked.scored_tokens} tokens of your own text, context {asked.ctx_tokens}",
                standard_error=_finite(match[2]),
            )
        )
    return tuple(found)


def _finite(printed: str) -> float | None:
    """The error as a number. The tool prints "-nan" where a cache equals the reference bit for bit."""
    try:
        number = float(printed)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def rotation_of(environ_setting: str | None, head_lengths: frozenset[int], is_latent: bool) -> str:
    """Whether quantized caches are rotated: heads of a multiple of 64, not latent, not switched off (PR 21038)."""
    if is_latent or (environ_setting or "0") != "0" or not head_lengths or any(it % 64 for it in head_lengths):
        return "off"
    return "on" if len(head_lengths) == 1 else "unknown"
