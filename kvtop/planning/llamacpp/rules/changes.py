"""What differs between two builds, rule by rule, in words and with where it came from."""

from dataclasses import fields
from typing import Any

from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.ranges import rules_for
from kvtop.planning.protocol.version_change import VersionChange

_WORDS: dict[str, tuple[str, str]] = {
    "architectures": ("what the build makes of the architecture", "src/models between the two builds"),
    "automatic_slots": ("slots without -np", "#16736"),
    "one_slot_is_automatic": ("-np 1 without -kvu counts as automatic", "between b7376 and b7710"),
    "ctx_by_default_tokens": ("context without -c", "#16653"),
    "gpu_layers_by_default": ("layers on the GPU without -ngl", "#15434"),
    "flash_attention_by_default": ("flash attention without -fa", "#15434"),
    "fits": ("--fit", "#16653"),
    "window_cells": ("cells of a sliding window hold the window and", "#13194, #13833"),
    "cell_padding": ("cells are rounded up to 256", "#16812"),
    "has_streams": ("cells of its own for each sequence", "#14363"),
    "repeats_hybrid_cells": ("all cells in each stream of a hybrid's cache", "between b7964 and b8156"),
    "takes_embeddings": ("a way into the graph for embeddings", "between b7710 and b7964"),
    "casts_masks": ("masks of attention filled as f32", "between b9294 and b9538"),
    "limits_outputs": ("only the outputs asked for in the compute buffer", "n_outputs_max, between b9294 and b9538"),
    "converts_cache_types": ("conversion of cache types for flash attention on CUDA", "#28079"),
    "converts_in_buffer": ("converted caches in the compute buffer", "between b9294 and b9538"),
    "rotates_caches": ("rotation of quantized caches", "#21038"),
    "refuses_latent_pairs": ("refusal of two cache types for latent attention", "between b10068 and b11434"),
    "host_copy_types": ("types of a tied output copied in host memory", "between b10068 and b11434"),
}
"""Rule -> what it is about, and its source."""

_VALUES = {True: "yes", False: "no", None: "as many as fit"}


def version_changes(before: str | None, after: str | None) -> tuple[VersionChange, ...]:
    """Rules in which the builds differ; none where both go by the same range."""
    one, other = rules_for(before), rules_for(after)
    return tuple(
        VersionChange(it.name, f"{_WORDS[it.name][0]}{_span(it.name, was, now)}", _WORDS[it.name][1])
        for it in fields(BuildRules)
        if it.name in _WORDS and (was := getattr(one, it.name)) != (now := getattr(other, it.name))
    )


def _span(name: str, was: Any, now: Any) -> str:  # noqa: ANN401  of any rule
    if name in {"architectures", "host_copy_types"}:
        return ""
    return f": {_value(name, was)} → {_value(name, now)}"


def _value(name: str, value: Any) -> str:  # noqa: ANN401
    if name == "ctx_by_default_tokens" and value == 0:
        return "the trained one"
    if name == "gpu_layers_by_default" and value == 0:
        return "none"
    if isinstance(value, bool) or value is None:
        return _VALUES[value]
    return str(value).replace("_", " ")
