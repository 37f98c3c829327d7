"""What a llama-server loads beside its models: LoRA adapters, control vectors, a multimodal projector.

Sources: `llama_adapter_lora_init_impl` and `llama_adapter_cvec::init` (src/llama-adapter.cpp), `clip_model_loader`
(tools/mtmd/clip.cpp), b11434.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kvtop.domain.answers.room import Room
from kvtop.domain.figure import Figure
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader, TensorInfo
from kvtop.domain.plan import DeviceShare, MemoryPlan, NoExactRuleError, PlanDevice, Refusal, Step
from kvtop.planning.llamacpp.memory.layout import ModelLayout, layout_of
from kvtop.planning.llamacpp.memory.placement import HOST, chosen_devices
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.weights import tensor_devices
from kvtop.planning.llamacpp.options.settings import LlamaSettings

_F32_BYTES = 4
_PROJECTOR_NOTE = (
    "the multimodal projector's weights are counted; its compute buffers are not (they depend on the largest image, "
    "often 0.1 to 1 GiB)"
)


@dataclass(frozen=True, slots=True)
class AuxiliaryModels:
    """Bytes by device name, how they follow, and what is not in them."""

    bytes_by_device: Mapping[str, int]
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    projector_bytes: Mapping[str, int] = field(default_factory=dict)
    """The projector's share, which is all of this that llama.cpp's `--fit` counts."""


def auxiliary_models(
    model: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    adapters: Sequence[GgufHeader],
    projector: GgufHeader | None,
) -> AuxiliaryModels | Refusal:
    """All of it. `adapters` and `projector` are the headers of the files that the settings name.

    Raises NoExactRuleError as `layout_of`, and for a tensor of unknown size.
    """
    layout = layout_of(model, settings, devices, settings.gpu_layers)
    if isinstance(layout, Refusal):
        return layout
    totals: Counter[str] = Counter()
    steps: list[Step] = []
    warnings: list[str] = []
    projected: dict[str, int] = {}
    for adapter in adapters:
        found = _adapter(adapter, model, layout)
        if isinstance(found, Refusal):
            return found
        totals.update(found)
        steps.append(Step(f"LoRA {adapter.path}: {_shares(found)}", "beside the matrices, src/llama-adapter.cpp"))
    if settings.has_control_vector:
        found = _control_vector(model, layout)
        totals.update(found)
        steps.append(Step(f"control vector: {_shares(found)}", "one row a layer but the first, src/llama-adapter.cpp"))
    if projector is not None:
        name = _projector_device(settings, devices)
        if isinstance(name, Refusal):
            return name
        size_bytes = sum(_allocated(tensor, layout, name) for tensor in projector.tensors)
        totals[name] += size_bytes
        projected[name] = size_bytes
        steps.append(Step(f"projector: {_shares({name: size_bytes})}", "the file's tensors, tools/mtmd/clip.cpp"))
        warnings.append(_PROJECTOR_NOTE)
    return AuxiliaryModels(totals, tuple(steps), tuple(warnings), projected)


def with_auxiliary_models(plan: MemoryPlan, found: AuxiliaryModels) -> MemoryPlan:
    """The plan with these bytes among the weights of each device, in place of the planner's notes that they lack."""
    added = found.bytes_by_device
    parts = tuple(_with_weights(part, added.get(part.name, 0)) for part in plan.devices)
    kept = tuple(warning for warning in plan.warnings if warning not in LEFT_OUT.values())
    return replace(plan, devices=parts, steps=(*plan.steps, *found.steps), warnings=(*kept, *found.warnings))


def _with_weights(part: DeviceShare, size_bytes: int) -> DeviceShare:
    weights = part.memory[Segment.WEIGHTS]
    more = Figure.computed(size_bytes, weights.source)
    return replace(part, memory=part.memory.replaced({Segment.WEIGHTS: weights + more}))


def rooms_left(rooms: Mapping[str, Room | None], found: AuxiliaryModels) -> dict[str, Room | None]:
    """What each device has left for the models and their caches; None is unknown."""
    added = found.bytes_by_device
    return {name: None if room is None else room.less(added.get(name, 0)) for name, room in rooms.items()}


LEFT_OUT = {
    "projector": "the multimodal projector (--mmproj) is not in this plan",
    "adapters": "the LoRA adapters (--lora) are not in this plan",
    "control vector": "the control vector is not in this plan",
}
"""What a plan says where only its models' files were read."""


def left_out(settings: LlamaSettings) -> list[str]:
    """The notes of `LEFT_OUT` that these settings call for."""
    there = {
        "projector": settings.mmproj_path is not None,
        "adapters": bool(settings.lora_paths),
        "control vector": settings.has_control_vector,
    }
    return [LEFT_OUT[name] for name, is_there in there.items() if is_there]


def _adapter(adapter: GgufHeader, model: PreparedModel, layout: ModelLayout) -> Counter[str] | Refusal:
    """Each pair lies where the matrix lies that it changes; vectors of norms are passed over."""
    where = tensor_devices(model.weights, model.hparams, layout.overridden, layout.placement)
    totals: Counter[str] = Counter()
    for tensor in adapter.tensors:
        base = tensor.name.removesuffix(".lora_a").removesuffix(".lora_b")
        if base == tensor.name:
            if tensor.name.endswith("_norm.weight"):
                continue
            return _failed(f"LoRA tensor '{tensor.name}' has unexpected suffix")
        device = where.get(base)
        if device is None:
            hint = "hint: maybe wrong base model?"
            return _failed(f"LoRA tensor '{base}' does not exist in base model ({hint})")
        totals[device] += _allocated(tensor, layout, device)
    return totals


def _failed(words: str) -> Refusal:
    return Refusal("llama.cpp", f"failed to apply lora adapter: {words}")


def adapter_refusal(adapter: GgufHeader, model: PreparedModel) -> Refusal | None:
    """What the engine finds wrong with the adapter's metadata before it looks at its tensors."""
    kind = adapter.metadata.get("general.type") or ""
    if kind != "adapter":
        return _failed(f"expect general.type to be 'adapter', but got: {kind}")
    if adapter.architecture != model.hparams.arch:
        return _failed("model arch and LoRA arch mismatch")
    adapter_kind = adapter.metadata.get("adapter.type") or ""
    if adapter_kind != "lora":
        return _failed(f"expect adapter.type to be 'lora', but got: {adapter_kind}")
    return None


def _control_vector(model: PreparedModel, layout: ModelLayout) -> Counter[str]:
    hparams, totals = model.hparams, Counter[str]()
    for layer in range(1, hparams.n_layer):
        device = layout.placement.layers[layer]
        totals[device] += layout.buffers[device].padded(hparams.n_embd * _F32_BYTES)
    return totals


def _projector_device(settings: LlamaSettings, devices: tuple[PlanDevice, ...]) -> str | Refusal:
    """`--mmproj-device`, else the first of `--device`, else the first accelerator; or the host where it is told to."""
    if not settings.mmproj_offload or settings.mmproj_device == "none":
        return HOST
    named = (settings.mmproj_device,) if settings.mmproj_device else settings.devices[:1]
    chosen = chosen_devices(named, devices) if named else devices
    if isinstance(chosen, Refusal):
        return chosen
    return chosen[0].name if chosen else HOST


def _allocated(tensor: TensorInfo, layout: ModelLayout, device: str) -> int:
    if tensor.size_bytes is None:
        raise NoExactRuleError(f"tensor {tensor.name} has a type ({tensor.type_id}) that kvtop does not know")
    return layout.buffers[device].allocated(tensor, tensor.size_bytes)


def _shares(amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{size_bytes} bytes on {name}" for name, size_bytes in amounts.items()) or "nothing"
