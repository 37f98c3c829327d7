"""llama-server as lint rules ask for it (b11434)."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from kvtop.domain.launch import LaunchOptions
from kvtop.planning.llamacpp.options.parse import settings_of
from kvtop.planning.llamacpp.options.table import BY_SPELLING
from kvtop.planning.llamacpp.rules.ranges import NEWEST
from kvtop.planning.protocol.lint_traits import CacheProvision, Changes, LintTraits

ALIKE = 0.86
"""How near a spelling must be to be named."""
_REMEDIES = (
    ("--draft-model", "-md FILE (--model-draft)"),
    ("--no-flash-attn", "--flash-attn off"),
    ("unknown value for --flash-attn", "--flash-attn on (or off, or auto)"),
    ('"-ngl": stoi', "-ngl all (or auto, or a number)"),
    ('gpu-layers": stoi', "-ngl all (or auto, or a number)"),
    ("--memory-f32", "--cache-type-k f32 --cache-type-v f32"),
    ("--no-mmap", "--load-mode none"),
    ("--mlock", "--load-mode mlock"),
    ("--cache-type ", "--cache-type-k q8_0 --cache-type-v q8_0"),
    ("--kv-cache-type", "--cache-type-k q8_0 --cache-type-v q8_0"),
    ("--max-model-len", "-c N (--ctx-size)"),
    ("split buffers", "--split-mode layer (the default), or tensor"),
    ("n_seq_max must be <= 256", "-np 256, or fewer"),
    ("doesn't contain MTP layers", "remove --spec-type, or use a file with prediction layers"),
)
_REMOVED = re.compile(r"has been removed\. use (--[\w-]+)")
_NOT_A_NUMBER = re.compile(r'argument "(-[\w-]+)": stoi$')


def _remedy(launch: LaunchOptions, words: str) -> str:
    """By the words; for an option that it does not know, by its name."""
    del launch
    removed = _REMOVED.search(words)
    if removed is not None:
        return removed[1]
    known = next((remedy for said, remedy in _REMEDIES if said in words), "")
    if known:
        return known
    number = _NOT_A_NUMBER.search(words)
    if number is not None:
        return f"{number[1]} with a whole number below 2147483648"
    unknown = words.partition("invalid argument: ")[2]
    spec = BY_SPELLING.get(unknown.replace("_", "-") if unknown.startswith("--") else unknown)
    if spec is not None:
        return f"{unknown} with a space before its value: llama-server takes no ="
    near = get_close_matches(unknown, BY_SPELLING, n=1, cutoff=ALIKE) if unknown.startswith("--") else []
    return f"{near[0]}, if that was meant" if near else ""


def _mends(launch: LaunchOptions) -> tuple[Mapping[str, str | None], ...]:
    return (
        {"flash-attn": None},
        {"cache-type-v": launch.value("cache-type-k"), "flash-attn": None},
        {"cache-type-k": None, "cache-type-v": None},
    )


def _unexported(launch: LaunchOptions, *, has_slots: bool) -> Changes:
    """/slots tells on its own, unless it is switched off; /metrics if it is switched on."""
    told = launch.value("metrics") == "true" or (has_slots and launch.value("slots") != "false")
    return () if told else (("metrics", "true"),)


TRAITS = LintTraits(
    engine="llama.cpp",
    title=NEWEST.name,
    cache=CacheProvision.CELLS,
    default_host="127.0.0.1",
    key_variables=("LLAMA_API_KEY",),
    key_words="--api-key-file FILE",
    secret_options={
        "api-key": "--api-key-file FILE, or LLAMA_API_KEY in the environment",
        "hf-token": "HF_TOKEN in the environment",
    },
    idle_words="--sleep-idle-seconds 900, or stop it",
    cache_type_options=("cache-type-k", "cache-type-v"),
    has_typed_settings=True,
    settings=settings_of,
    mends=_mends,
    unexported=_unexported,
    remedy=_remedy,
)
