"""The derivation of a plan in words, and what a person should know before trusting it."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.figure import Figure
from kvtop.domain.plan import PlanDevice, Step
from kvtop.planning.llamacpp.arithmetic import (
    F32_BYTES,
    amount,
    cache_arithmetic,
    output_arithmetic,
    scratch_arithmetic,
    state_arithmetic,
    weights_arithmetic,
    weights_by_type,
)
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.memory.auxiliary_models import left_out
from kvtop.planning.llamacpp.memory.buffers import doubt
from kvtop.planning.llamacpp.memory.kv_cache import COMPRESSED, INDEXER, SLIDING_WINDOW, CacheGroup, group_cells
from kvtop.planning.llamacpp.memory.layout import ModelLayout
from kvtop.planning.llamacpp.memory.placement import HOST
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.recurrent import RecurrentGroup
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.settings import PINNED_CONTEXT, LlamaSettings

SCRATCH_RULE = "get_alloc_size of FLASH_ATTN_EXT in ggml-cuda, ggml-sycl and ggml-metal; ggml-vulkan copies nothing"
FIT_IS_ON = "--fit is on"
"""How the note on it begins."""

_WHAT = {
    SLIDING_WINDOW: ("sliding-window", "src/llama-kv-cache-iswa.cpp"),
    INDEXER: ("indexer", "src/llama-kv-cache-dsa.cpp"),
    COMPRESSED: ("compressed", "src/llama-kv-cache-dsv4.cpp"),
}


def derivation(
    settings: LlamaSettings, target: ModelPlan, second: ModelPlan | None, compute: list[dict[str, Figure]]
) -> tuple[Step, ...]:
    """The derivation of both models, each amount as the sum or product that it is."""
    steps = [*_conclusions(target, settings)]
    steps += _last_steps(target, compute[0])
    if second is not None:
        own = [_cache_step(group, second.context, second.layout) for group in second.groups]
        if settings.draft is not None:
            # The second context of draft-mtp has the target's weights, and no state.
            own += [_state_step(group, second.context, second.layout) for group in second.layout.recurrent]
            own += _weights_steps(second.prepared, settings, second.layout)
        steps += [replace(it, text=f"draft: {it.text}") for it in (*own, *_last_steps(second, compute[1]))]
    return tuple(steps)


def _last_steps(found: ModelPlan, compute: dict[str, Figure]) -> list[Step]:
    context = found.context
    values = found.output_bytes // (context.n_seq_max * F32_BYTES)
    steps = [_output_step(values, context), _compute_step(context, found.prepared.hparams.n_vocab, compute)]
    copied = scratch_arithmetic(found)
    if copied:
        steps.append(Step("a layer's quantized cache is copied to f16 for fused attention", SCRATCH_RULE, copied))
    return steps


def _conclusions(target: ModelPlan, settings: LlamaSettings) -> list[Step]:
    """One line per conclusion, in the order the engine draws them."""
    prepared, context, layout = target.prepared, target.context, target.layout
    hparams = prepared.hparams
    steps = [_context_step(settings, hparams, context)]
    if context.swa_cells and not settings.swa_full:
        factor = f"{context.n_seq_max} sequences of " if context.kv_unified and context.n_seq_max > 1 else ""
        steps.append(
            Step(
                f"sliding window: {factor}{hparams.n_swa} tokens and a micro-batch of {context.n_ubatch} "
                f"take {context.swa_cells} cells per stream",
                "min(n_ctx_seq, n_swa * sequences + n_ubatch) padded to 256, src/llama-kv-cache-iswa.cpp",
            )
        )
    steps.extend(_cache_step(group, context, layout) for group in target.groups)
    steps.extend(_state_step(group, context, layout) for group in layout.recurrent)
    steps.append(_placement_step(hparams, layout))
    steps.extend(_weights_steps(prepared, settings, layout))
    state = "on" if context.flash_attention else "off"
    steps.append(
        Step(
            f"flash attention {settings.flash_attention} resolves to {state}",
            "resolve_fused_ops, src/llama-context.cpp; kernels of ggml-cuda/fattn.cu",
        )
    )
    return steps


def _context_step(settings: LlamaSettings, hparams: HParams, context: ResolvedContext) -> Step:
    asked = f"-c {settings.ctx_tokens}" if settings.ctx_tokens else f"the trained {hparams.n_ctx_train} tokens"
    if settings.kv_unified_per_slot_tokens and not settings.ctx_tokens:
        asked = f"{context.n_seq_max} slots of {settings.kv_unified_per_slot_tokens}"
    elif not settings.ctx_tokens and settings.fit and context.n_stream > 1:
        asked += f" for each of {context.n_stream} sequences (--fit, common/fit.cpp)"
    pool = (
        f"one pool of {context.n_ctx} cells for {context.n_seq_max} sequences"
        if context.kv_unified
        else f"{context.n_seq_max} {_streams(context.n_seq_max)} of {context.n_ctx_seq} cells"
    )
    return Step(f"{asked} becomes {pool}", "n_ctx and n_ctx_seq padded to 256, src/llama-context.cpp")


def _streams(count: int) -> str:
    return "stream" if count == 1 else "streams"


def _layers(count: int) -> str:
    return "layer" if count == 1 else "layers"


def _cache_step(group: CacheGroup, context: ResolvedContext, layout: ModelLayout) -> Step:
    what, where = _WHAT.get(group.kind, ("full-attention", "src/llama-kv-cache.cpp"))
    values = "no V" if group.width_v is None else f"V rows of {group.width_v} {context.type_v}"
    count = context.n_seq_max if group.own_streams else context.n_stream
    streams = f" in each of {count} streams" if count > 1 else ""
    cells = f"{group_cells(group, context)} cells{streams}"
    return Step(
        f"{group.layers} {what} {_layers(group.layers)} on {group.device} cache {cells}: "
        f"K rows of {group.width_k} {context.type_k}, {values}",
        f"head length * head_count_kv, {where}",
        cache_arithmetic(group, context, layout),
    )


def _state_step(group: RecurrentGroup, context: ResolvedContext, layout: ModelLayout) -> Step:
    rows = context.n_seq_max * (1 + context.n_rs_seq)
    values = " + ".join(str(count) for count in group.values)
    return Step(
        f"{group.layers} recurrent {_layers(group.layers)} on {group.device} keep {values} f32 values in each of "
        f"{rows} rows; neither context nor cache types change that",
        "src/llama-memory-recurrent.cpp",
        state_arithmetic(group, context, layout),
    )


def _placement_step(hparams: HParams, layout: ModelLayout) -> Step:
    placement = layout.placement
    shares = [f"{placement.layers.count(name)} on {name}" for name in (*placement.devices, HOST)]
    kept = "; the caches stay on the host" if placement.kv_on_host else ""
    where = f"{', '.join(shares)}; output on {placement.output}, embeddings on the host{kept}"
    return Step(
        f"{hparams.n_layer_all} blocks: {where}",
        "i_gpu_start and the split by free memory, src/llama-model.cpp",
    )


def _weights_steps(prepared: PreparedModel, settings: LlamaSettings, layout: ModelLayout) -> list[Step]:
    """The bytes of each device, by type of tensor."""
    predicts = "draft-mtp" in settings.speculative_types and prepared.hparams.n_layer_nextn > 0
    by_type = weights_by_type(prepared, layout, with_prediction=predicts, repack=settings.repack)
    return [
        Step(
            f"weights on {name}",
            "each tensor with the padding of its buffer, src/llama-model-loader.cpp",
            weights_arithmetic(types),
        )
        for name, types in by_type.items()
        if types
    ]


def _compute_step(context: ResolvedContext, n_vocab: int, found: Mapping[str, Figure]) -> Step:
    """What decides the compute buffers, and the amounts that a replay of the reservation gave."""
    outputs = min(context.n_outputs_max, context.n_ubatch)
    shares = ", ".join(f"{amount(it.value_bytes)} on {name}" for name, it in found.items() if it.value_bytes)
    return Step(
        f"compute: the largest graph, of {context.n_ubatch} tokens at once over {context.n_ctx_seq} cells a sequence",
        "sched_reserve, src/llama-context.cpp; placed as ggml-alloc.c places it",
        f"{shares or 'nothing'}; of them {outputs} rows of logits x {n_vocab} values x 4 bytes = "
        f"{amount(outputs * n_vocab * 4)}",
    )


def _output_step(values: int, context: ResolvedContext) -> Step:
    """What the server keeps of each sequence's last token."""
    return Step(
        "output: the logits of one token a sequence, on the host",
        "output_reserve, src/llama-context.cpp",
        output_arithmetic(values, context.n_seq_max, values * context.n_seq_max * 4),
    )


def warnings_of(
    hparams: HParams,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    context: ResolvedContext,
    layout: ModelLayout,
) -> tuple[str, ...]:
    """What the engine would warn about, and what the plan could not take into account."""
    found = []
    if context.n_ctx_seq > hparams.n_ctx_train:
        found.append(
            f"n_ctx_seq ({context.n_ctx_seq}) > n_ctx_train ({hparams.n_ctx_train}): the server caps each slot at the "
            "trained context, the memory is taken all the same"
        )
    if "iq4_nl" in {context.type_k, context.type_v} and context.flash_attention and layout.placement.devices:
        found.append("CUDA has no flash attention for iq4_nl: attention silently runs on the CPU")
    for device in devices:
        if doubt(device):
            found.append(f"{device.name}: {doubt(device)}; its bytes are estimated")
    found.extend(left_out(settings))
    found.extend(_fit_warnings(settings, devices, layout))
    return tuple(found)


def _fit_warnings(settings: LlamaSettings, devices: tuple[PlanDevice, ...], layout: ModelLayout) -> list[str]:
    """`--fit` is on by default and may lower a context or a layer count that was not given (common/fit.cpp)."""
    given = settings.gpu_layers is not None or settings.tensor_split or settings.tensor_overrides
    # A typed `-c 0` asks for the trained context by name.
    pinned = settings.ctx_tokens > 0 or settings.fit_ctx_tokens >= PINNED_CONTEXT
    if not settings.fit or not layout.placement.devices or (pinned and given):
        return []
    if all(device.free_bytes is None and device.total_bytes is None for device in devices):
        return []
    what = "the context" if given else "layers on the device" if pinned else "the context or layers"
    return [f"{FIT_IS_ON}: the engine may reduce {what} if less than its margin stays free"]
