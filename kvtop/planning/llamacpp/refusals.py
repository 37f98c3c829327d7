"""Options that llama.cpp refuses to start with, in its own words (`llama_init_from_model`, src/llama-context.cpp)."""

from kvtop.domain.plan import Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import ContextRequest, padded
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.rules.build_rules import BuildRules

_ENGINE = "llama.cpp"
_MAX_SEQUENCES = 256


def context_refusal(hparams: HParams, request: ContextRequest, flash_attention: str) -> Refusal | None:
    """The first complaint of the engine about a context with these options, or None.

    `flash_attention` is the request ("on", "off", "auto"), not what it resolves to.
    """
    for flag, kind in (("--cache-type-k", request.type_k), ("--cache-type-v", request.type_v)):
        if kind not in CACHE_TYPES:
            return Refusal(_ENGINE, f'error while handling argument "{flag}": Unsupported cache type: {kind}')
    requested = flash_attention if hparams.traits.fuses_attention else "off"
    words, rules = None, hparams.build
    is_latent = rules.refuses_latent_pairs and (hparams.is_mla or hparams.traits.compressed)
    if request.n_batch == 0 and request.n_ubatch == 0:
        words = "n_batch and n_ubatch cannot both be zero"
    elif request.ctx_tokens == 0 and hparams.n_ctx_train == 0:
        words = "n_ctx and model->hparams.n_ctx_train cannot both be zero"
    elif is_latent and request.type_k != request.type_v:
        words = f"model does not support different K ({request.type_k}) and V ({request.type_v}) cache types"
    elif CACHE_TYPES[request.type_v].is_quantized and requested == "off":
        words = rules.quantized_values_words
    elif requested != "off":
        words = _undivided("K", request.type_k, hparams.n_embd_head_k[: hparams.n_layer])
        words = words or _undivided("V", request.type_v, hparams.n_embd_head_v[: hparams.n_layer])
    if words is None and request.n_seq_max > _MAX_SEQUENCES:
        words = f"failed to initialize the context: n_seq_max must be <= {_MAX_SEQUENCES}"
    if words is None and not request.kv_unified and padded(request.ctx_tokens) >= 2**32:
        words = "failed to initialize the context: n_ctx_seq == 0"
    return _abort(request) if words is None else Refusal(_ENGINE, f"llama_init_from_model: {words}")


def unknown_architecture(architecture: str | None, rules: BuildRules) -> Refusal | None:
    """What a build says to a model whose architecture came later, and when it came."""
    newer = None if architecture is None else rules.lacks(architecture)
    if newer is None or newer.since is None:
        return None
    words = f"error loading model: unknown model architecture: '{architecture}'"
    return Refusal(_ENGINE, f"{words}; llama.cpp knows it from b{newer.since[1]} on at the latest")


def tensor_split_refusal(hparams: HParams, settings: LlamaSettings, has_devices: bool) -> Refusal | None:
    """What the engine says to `--split-mode tensor` where it will not have it, or None."""
    if settings.split_mode != "tensor":
        return None
    words = None
    if not has_devices:
        words = "llama_prepare_model_devices: LLAMA_SPLIT_MODE_TENSOR needs >= 1 devices"
    elif not hparams.traits.splits_tensors:
        words = f"error loading model: LLAMA_SPLIT_MODE_TENSOR not implemented for architecture '{hparams.arch}'"
    elif settings.flash_attention == "off":
        words = "llama_init_from_model: SPLIT_MODE_TENSOR requires flash_attn to be enabled"
    return None if words is None else Refusal(_ENGINE, words)


def _abort(request: ContextRequest) -> Refusal | None:
    """Sizes that no check catches; the assertions of src/llama-context.cpp do, observed on b11434."""
    if padded(request.ctx_tokens) >= 2**32:
        return Refusal(_ENGINE, "GGML_ASSERT(n_outputs >= 1) failed")  # the pool wraps to 0 cells
    if request.n_outputs_max < request.n_seq_max:
        # A batch of fewer tokens than there are slots: `output_reserve` makes room for one output of each.
        return Refusal(_ENGINE, "GGML_ASSERT(n_outputs_max <= cparams.n_outputs_max) failed")
    if request.n_batch == 0:
        return Refusal(_ENGINE, "GGML_ASSERT(n_outputs >= 1) failed")
    return None


def _undivided(which: str, kind: str, lengths: tuple[int, ...]) -> str | None:
    """Quantized blocks must not straddle heads when attention is fused."""
    block = CACHE_TYPES[kind].block_values
    for length in dict.fromkeys(lengths):
        if length % block:
            field = f"n_embd_head_{which.lower()}"
            return f"{which} cache type {kind} with block size {block} does not divide {field}={length}"
    return None
