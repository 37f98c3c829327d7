"""The llama-server command that Ollama starts for a model (`StartServer`, llm/llama_server.go)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvtop.domain.model_file import GgufHeader, StoredModel
from kvtop.domain.plan import NoExactRuleError, PlanDevice
from kvtop.planning.ollama.batch import EMBEDDING_MOST, generation_batch
from kvtop.text import plain_number

_GIB, _MIB = 1 << 30, 1 << 20
_ONE_SLOT_FAMILIES = frozenset(
    ("mllama", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen3next", "lfm2", "lfm2moe")
    + ("nemotron_h", "nemotron_h_moe", "nemotron_h_omni")
)
"""Families that it never runs with more than one slot (server/sched.go)."""
_PROJECTOR_HEADROOM_BYTES = 1 * _GIB
_VISION_TOKENS_LEAST = 2048
_CONTEXT_TIERS = ((47 * _GIB, 262144), (23 * _GIB, 32768), (0, 4096))
"""(at least so much memory on all cards together, context): server/routes.go."""
DRAFT_TOKENS = 4
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
_TOKENS_MOST = 1 << 31


@dataclass(frozen=True, slots=True)
class Started:
    """What runs: words behind `llama-server`, variables set for it, and what a person has to know."""

    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model of the store with what its files say."""

    stored: StoredModel
    header: GgufHeader
    projector_bytes: int = 0
    """Of all tensors of its projector; 0 without one."""
    draft_architecture: str = ""
    """"" without a draft model."""

    @property
    def is_embedding(self) -> bool:
        """A model that gives vectors and no text."""
        return f"{self.header.architecture}.pooling_type" in self.header.metadata


def started_server(model: OpenedModel, devices: Sequence[PlanDevice], environ: Mapping[str, str]) -> Started:
    """The command for this model on these devices, by the variables that `ollama serve` sees.

    Raises NoExactRuleError for a model that keeps its projector inside its own file (Ollama's llama-server reads such
    files, and no other does), and where the size of a card decides and is unknown.
    """
    stored, header = model.stored, model.header
    if stored.projector_path is None and any(tensor.name.startswith("v.") for tensor in header.tensors):
        raise NoExactRuleError(f"{stored.name} keeps its projector inside the model file, in a format of Ollama's own")
    slots = 1 if model.is_embedding else _slots(stored, environ)
    context, source = _context_tokens(model, devices, environ)
    predicted = _predicted_bytes(header, context * slots)
    chosen = _one_device(predicted, devices, stored, environ)
    used = devices if chosen is None else (devices[chosen],)
    flash = _flash_attention(used, environ)
    words = ["--model", stored.model_path, "-c", str(context * slots), "-np", str(slots)]
    projector_words, variables = _projector(model, devices, environ)
    words += [*projector_words, *_draft_words(model)]
    for adapter in stored.adapter_paths:
        words += ["--lora", adapter]
    if stored.parameters.get("use_mmap") is False:
        words += ["--load-mode", "none"]
    cache_type = _variable(environ, "OLLAMA_KV_CACHE_TYPE").lower()
    if cache_type:
        words += ["--cache-type-k", cache_type, "--cache-type-v", cache_type]
    words += ["--flash-attn", flash, *_batch_words(model, context * slots, predicted, used, flash)]
    layers = stored.whole("num_gpu")
    if layers is not None and layers >= 0:
        words += ["-ngl", str(layers)]
    notes = [f"a context of {context} tokens, by {source}; OLLAMA_CONTEXT_LENGTH or num_ctx changes it"]
    if chosen is not None:
        words += ["--split-mode", "none", "--main-gpu", str(chosen)]
        notes.append(f"Ollama uses {devices[chosen].name} alone; OLLAMA_SCHED_SPREAD=1 uses all cards")
    return Started(tuple(words), variables, tuple(notes))


def _variable(environ: Mapping[str, str], name: str) -> str:
    """As Ollama reads it (`envconfig.Var`): without spaces and quotes around it."""
    return environ.get(name, "").strip().strip("\"'")


def _batch_words(
    model: OpenedModel, tokens: int, predicted_bytes: int, used: Sequence[PlanDevice], flash: str
) -> list[str]:
    batch = model.stored.whole("num_batch")
    if model.is_embedding:
        batch = min(EMBEDDING_MOST if batch is None else batch, tokens)
    elif batch is None:
        available = sum(map(_room_bytes, used))
        batch = generation_batch(tokens, predicted_bytes, available, used, flash_attention=flash != "off")
    kind = ["--embedding"] if model.is_embedding else []
    return [*kind, "-b", str(batch), "-ub", str(batch)] if batch > 0 else kind


def _room_bytes(device: PlanDevice) -> int:
    return (device.free_bytes if device.free_bytes is not None else device.total_bytes) or 0


def _projector(
    model: OpenedModel, devices: Sequence[PlanDevice], environ: Mapping[str, str]
) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Its options, and the margin that `--fit` is to leave for it: fit does not count a projector itself."""
    if model.stored.projector_path is None:
        return [], ()
    words = ["--mmproj", model.stored.projector_path]
    needed = model.projector_bytes + _PROJECTOR_HEADROOM_BYTES
    layers = model.stored.whole("num_gpu")
    all_layers = _number(model.header, f"{model.header.architecture}.block_count") + 1
    is_partial = layers is not None and 0 <= layers < all_layers
    if is_partial or any(0 < room < needed for room in map(_room_bytes, devices)):
        return [*words, "--no-mmproj-offload"], ()
    if "LLAMA_ARG_FIT_TARGET" in environ:
        return words, ()
    return words, (("LLAMA_ARG_FIT_TARGET", str(-(-needed // _MIB))),)


def _slots(stored: StoredModel, environ: Mapping[str, str]) -> int:
    slots = plain_number(_variable(environ, "OLLAMA_NUM_PARALLEL"), 1 << 16) or 1
    return 1 if stored.family in _ONE_SLOT_FAMILIES else slots


def _context_tokens(model: OpenedModel, devices: Sequence[PlanDevice], environ: Mapping[str, str]) -> tuple[int, str]:
    """The context of one request, and who says so; never more than the model was trained for."""
    tokens, source = _wanted_tokens(model.stored, devices, environ)
    if model.stored.projector_path is not None:
        tokens = max(tokens, _VISION_TOKENS_LEAST)
    trained = _number(model.header, f"{model.header.architecture}.context_length")
    return (trained, "its training") if 0 < trained < tokens else (tokens, source)


def _wanted_tokens(stored: StoredModel, devices: Sequence[PlanDevice], environ: Mapping[str, str]) -> tuple[int, str]:
    in_model = stored.whole("num_ctx")
    if in_model is not None:
        return max(in_model, 4), "the Modelfile"
    stated = plain_number(_variable(environ, "OLLAMA_CONTEXT_LENGTH"), _TOKENS_MOST)
    if stated:
        return max(stated, 4), "OLLAMA_CONTEXT_LENGTH"
    overhead = plain_number(_variable(environ, "OLLAMA_GPU_OVERHEAD")) or 0
    sizes = [device.total_bytes for device in devices if device.total_bytes is not None]
    if len(sizes) < len(devices):
        raise NoExactRuleError("Ollama chooses the context by the size of the cards, and one of them is unknown")
    total = sum(sizes) - overhead * len(sizes)
    tokens = next((tokens for least, tokens in _CONTEXT_TIERS if total >= least), _CONTEXT_TIERS[-1][1])
    return tokens, f"the {total / _GIB:.1f} GiB of all cards" if devices else "the want of a card"


def _flash_attention(devices: Sequence[PlanDevice], environ: Mapping[str, str]) -> str:
    wanted = _variable(environ, "OLLAMA_FLASH_ATTENTION").lower()
    if wanted in _TRUE:
        return "on"
    if wanted in _FALSE:
        return "off"
    return "auto" if all(map(_has_flash_attention, devices)) else "off"


def _has_flash_attention(device: PlanDevice) -> bool:
    """`FlashAttentionSupported` (ml/device.go): not on SYCL, nor before Pascal, nor on Jetson Xavier."""
    if device.compute_api == "cuda":
        capability = device.compute_capability
        return capability is None or (capability[0] >= 6 and capability != (7, 2))
    return device.compute_api in {"metal", "rocm", "vulkan"}


def _predicted_bytes(header: GgufHeader, tokens: int) -> int:
    """Ollama's own guess (`PredictServerVRAM`): only its choice of card and batch goes by it, never a plan."""
    prefix = header.architecture or ""
    layers, width = _number(header, f"{prefix}.block_count"), _number(header, f"{prefix}.embedding_length")
    heads = _extreme(header, f"{prefix}.attention.head_count", most=True)
    kv_heads = _extreme(header, f"{prefix}.attention.head_count_kv", most=False)
    head_length = width // heads if heads else 0
    return header.file_size_bytes + 2 * layers * (kv_heads or 1) * head_length * tokens * 2


def _number(header: GgufHeader, key: str) -> int:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _extreme(header: GgufHeader, key: str, *, most: bool) -> int:
    """A count that may be one number or one a layer."""
    value = header.metadata.get(key, 1)
    counts = [it for it in value if isinstance(it, int)] if isinstance(value, tuple) else [_number(header, key) or 1]
    return (max(counts) if most else min(counts)) if counts else 1


def _one_device(
    predicted_bytes: int, devices: Sequence[PlanDevice], stored: StoredModel, environ: Mapping[str, str]
) -> int | None:
    """The card that takes the model alone (`selectLlamaServerPlacement`): the freest of those it fills to 80 %."""
    if len(devices) <= 1 or stored.whole("num_gpu") == 0:
        return None
    main = stored.whole("main_gpu")
    if main is not None:
        return main if 0 <= main < len(devices) else None
    if _variable(environ, "OLLAMA_SCHED_SPREAD").lower() in _TRUE:
        return None
    rooms = [*map(_room_bytes, devices)]
    fitting = [at for at, room in enumerate(rooms) if predicted_bytes <= room * 80 // 100]
    return max(fitting, key=lambda at: (rooms[at], -at)) if fitting else None


def _draft_words(model: OpenedModel) -> list[str]:
    """A draft that the model brings along runs by default; layers for it in the model itself only where asked for."""
    stored = model.stored
    tokens = stored.whole("draft_num_predict")
    if stored.draft_path is None:
        if not tokens or tokens < 0 or not _has_draft_layers(model.header):
            return []
        return ["--spec-type", "draft-mtp", "--spec-draft-n-max", str(tokens)]
    tokens = DRAFT_TOKENS if tokens is None else tokens
    if tokens <= 0:
        return []
    kind = "draft-dflash" if model.draft_architecture == "dflash" else "draft-mtp"
    return ["--spec-type", kind, "--spec-draft-n-max", str(tokens), "--spec-draft-model", stored.draft_path]


def _has_draft_layers(header: GgufHeader) -> bool:
    architecture = header.architecture or ""
    if _number(header, f"{architecture}.nextn_predict_layers") > 0:
        return True
    return architecture in {"qwen35", "qwen35moe"} and any(it.name.startswith("mtp.") for it in header.tensors)
