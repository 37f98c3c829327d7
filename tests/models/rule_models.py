"""Recorded models by name for the scenarios of rules, and targets of example command lines made from them."""

import gzip
import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from kvtop.analysis.lint.rule import Example
from kvtop.analysis.lint.surroundings import ModelFiles, Surroundings
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import one_card_for_every_rank, ranks_of
from kvtop.domain.launch import LaunchOption, Origin
from kvtop.domain.model_file import Checkpoint, CheckpointTensor, GgufHeader
from kvtop.planning.commands.command import parse_command
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.llamacpp.options.bare_flags import with_values
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.llamacpp.options.refused_types import with_meant_types
from kvtop.planning.llamacpp.options.removed_options import rewritten
from kvtop.planning.llamacpp.options.typed_context import typed_context
from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.redaction.redact import allowed_environment
from tests.oracle import cases as oracle_cases

_FIXTURES = Path(__file__).parents[1] / "fixtures" / "oracle"


@lru_cache(maxsize=1)
def gguf_models() -> Mapping[str, GgufHeader]:
    """The recorded GGUF headers, and one with heads of 80 values that no recorded model has."""
    found: dict[str, GgufHeader] = {}
    for path in (oracle_cases.FIXTURE, oracle_cases.MORE_MODELS):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            models = json.load(file)["models"]
        found |= {name: oracle_cases.header_of(name, model["kv"], model["tensors"]) for name, model in models.items()}
    llama = found["llama-3.1-8b"]
    odd = {**llama.metadata, "llama.attention.key_length": 80, "llama.attention.value_length": 80}
    found["heads-of-80"] = replace(llama, metadata=odd)
    wide = tuple(replace(it, type_id=1, type_name="f16", size_bytes=2 * prod(it.shape)) for it in llama.tensors)
    found["llama-3.1-8b-f16"] = replace(llama, metadata={**llama.metadata, "general.file_type": 1}, tensors=wide)
    return found


@lru_cache(maxsize=1)
def checkpoints() -> Mapping[str, Checkpoint]:
    """The recorded config.json files, each with weights in bulk."""
    configs: dict[str, Mapping[str, Any]] = {}
    for name in ("vllm.json.gz", "vllm_more.json.gz", "mlx.json.gz"):
        with gzip.open(_FIXTURES / name, "rt", encoding="utf-8") as file:
            configs = {**json.load(file)["configs"], **configs}
    return {
        name: Checkpoint(name, config, (_tensor(name),), _tensor(name).size_bytes) for name, config in configs.items()
    }


_BYTES = {
    "deepseek-v3": 688_586_727_753,
    "qwen3-30b-a3b": 61_064_245_248,
    "gpt-oss-20b": 13_761_264_768,
    "llama-3.3-70b": 141_107_412_992,
    "gemma-3-27b": 54_864_777_216,
    "deepseek-v2-lite": 31_412_968_448,
    "phi-3-mini": 7_642_181_880,
}
"""Of the published checkpoints; any other is taken to be as large as an 8B model in bfloat16."""


def _tensor(name: str) -> CheckpointTensor:
    size_bytes = _BYTES.get(name, 16_060_522_496)
    return CheckpointTensor("model.embed_tokens.weight", "BF16", (size_bytes // 2,), size_bytes)


Models = Mapping[str, GgufHeader | Checkpoint]


def target_of(example: Example, models: Models | None = None) -> LintTarget:
    """The target of an example: its command line, its model by name (of `models`, else recorded) and devices."""
    ggufs: Models = gguf_models() if models is None else models
    command = parse_command(shlex.split(example.command))
    environ = {"HOME": "/nowhere", **dict(example.environ), **dict(command.variables)}
    words = command.words
    devices = parse_gpu_specs(example.gpus)
    if command.engine == "llama.cpp":
        meant = rewritten(words, None)
        words = meant.words
        strict = parse_llama_server(words, environ, strict=True)
        launch = with_meant_types(parse_llama_server(with_values(words), environ, strict=True))
        if with_values(words) != words:
            launch = replace(launch, errors=strict.errors[:1])
        launch = replace(launch, removed=meant.removed)
        model: GgufHeader | Checkpoint | None = ggufs.get(example.model)
        draft = gguf_models().get(example.draft)
        if draft is not None:
            named = LaunchOption("spec-draft-model", "DRAFT", Origin.ARGV, "-md")
            launch = replace(launch, options=(*(it for it in launch.options if it.name != named.name), named))
    else:
        is_vllm = command.engine == "vllm"
        launch, draft = parse_serve_options(words) if is_vllm else parse_server_options(words), None
        model = (checkpoints() if models is None else models).get(example.model)
        if is_vllm and len(devices) == 1:
            devices = one_card_for_every_rank(devices, ranks_of(launch))
    return LintTarget.from_command(
        example.command,
        launch,
        ModelFiles(" ".join(words), model, "" if model is not None else "MODEL: no such file", draft),
        Surroundings(
            devices=devices,
            are_devices_known=bool(example.gpus),
            host_total_bytes=example.host_total_bytes,
            environ=allowed_environment({**dict(example.environ), **dict(command.variables)}),
            published=None if command.container is None else command.container.published,
            has_unread_variables=command.container is not None and command.container.env_files,
        ),
        typed_context=typed_context(words, environ) if command.engine == "llama.cpp" else "",
        version=example.version,
        observed=example.observed,
    )
