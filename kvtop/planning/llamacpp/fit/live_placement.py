"""Where the layers of a running llama-server lie that `--fit` may have placed: by its log, by a replay, by its drivers.

A placement that was typed is no question: `--fit` leaves it alone. Otherwise candidates are planned and held against
what is seen: every layer on the devices, what a replay of `--fit` chooses with the memory that would be free without
this server, and as many layers (of a mixture, experts) as the driver's figure has room for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kvtop.domain.compute_api import api_named
from kvtop.domain.figure import NOTHING, Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.bisection import largest
from kvtop.planning.llamacpp.fit.fitted import fit
from kvtop.planning.llamacpp.fit.pinned import pinning_changes
from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer
from kvtop.planning.llamacpp.memory.placement import HOST, override_rules, participating
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.protocol.placement_evidence import PlacedOptions, PlacementEvidence
from kvtop.text import bytes_text


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A running server's model and options. `typed` is as it was started, `effective` as its endpoint corrects it."""

    model: PreparedModel
    typed: LlamaSettings
    effective: LlamaSettings
    devices: tuple[PlanDevice, ...]
    draft: PreparedModel | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    options: tuple[tuple[str, str], ...]
    settings: LlamaSettings
    how: str


def live_placement(server: RunningModel, observed: PlacementEvidence) -> PlacedOptions:
    """The placement that what is seen fits to; "" of words where it was typed. Never raises for what has no rule."""
    settings = server.typed
    taking = participating(settings, server.devices)
    is_typed = settings.gpu_layers is not None or bool(override_rules(settings)) or not settings.fit
    if isinstance(taking, Refusal) or not taking or is_typed:
        return PlacedOptions()
    try:
        return _placed(server, tuple(taking), observed)
    except NoExactRuleError:
        return PlacedOptions()


def _placed(server: RunningModel, taking: tuple[PlanDevice, ...], observed: PlacementEvidence) -> PlacedOptions:
    names = [device.name for device in taking]
    whole = _Candidate((), server.effective, "")
    replayed = _replayed(server)
    first = [whole] if replayed is None or not replayed.options else [replayed, whole]
    if observed.weights_bytes:
        for candidate in (*first, *_by_layers(server, taking)):
            if _is_logged(server, candidate, observed):
                return PlacedOptions(candidate.options, f"{_said(server, candidate)}: by the buffers in its log")
    held = {name: observed.held_bytes[name] for name in names if name in observed.held_bytes}
    if len(held) == len(names):
        for candidate in first:
            if _is_held(server, candidate, taking, held):
                why = "by the driver's figure" if candidate is whole else f"{candidate.how}, and by the driver's figure"
                bounds = () if candidate is whole else _bounds(server, taking, held)
                return PlacedOptions(candidate.options, f"{_said(server, candidate)}: {why}", bounds)
        found = _by_driver(server, taking, held) if len(names) == 1 else None
        if found is not None:
            amount = bytes_text(held[names[0]])
            words = f"about {_said(server, found)}: inferred from {amount} on {names[0]}"
            return PlacedOptions(found.options, words, _bounds(server, taking, held))
        return PlacedOptions((), "assuming all layers are offloaded: no placement fits the driver's figures")
    if replayed is not None:
        return PlacedOptions(replayed.options, f"{_said(server, replayed)}: {replayed.how}")
    return PlacedOptions((), "assuming all layers are offloaded (-ngl auto)")


def _said(server: RunningModel, candidate: _Candidate) -> str:
    given = dict(candidate.options)
    layers = server.model.hparams.n_layer + 1
    if "override-tensor" in given or "n-cpu-moe" in given:
        count = given.get("n-cpu-moe")
        return "experts on the host" if count is None else f"experts of {count} of {layers - 1} layers on the host"
    count = given.get("gpu-layers")
    return f"{count} of {layers} layers offloaded" if count is not None else "all layers offloaded"


def _replayed(server: RunningModel) -> _Candidate | None:
    """What `--fit` would choose with the memory that is free without this server; None where that is not known."""
    if any(device.free_bytes is None for device in server.devices):
        return None
    answer = fit(server.model, server.typed, server.devices, server.draft)
    if not isinstance(answer, FitAnswer):
        return None
    changes = pinning_changes(answer.parameters)
    options = tuple((name, value) for name, value in changes.items() if value is not None and name != "fit")
    how = "as --fit places them in the memory that is free without it"
    chosen = answer.parameters
    settings = replace(
        server.effective,
        gpu_layers=None if chosen.gpu_layers == -1 else chosen.gpu_layers,
        tensor_split=chosen.tensor_split,
        tensor_overrides=chosen.overrides,
    )
    return _Candidate(options, settings, how)


def _by_layers(server: RunningModel, taking: tuple[PlanDevice, ...]) -> Iterator[_Candidate]:
    """Every number of layers, and of a mixture every number of layers without experts."""
    hparams = server.model.hparams
    for count in range(hparams.n_layer_all + 1):
        yield _with_layers(server, count)
    if hparams.n_expert and len(taking) == 1:
        for count in range(1, hparams.n_layer + 1):
            yield _without_experts(server, count)


def _with_layers(server: RunningModel, count: int) -> _Candidate:
    return _Candidate((("gpu-layers", str(count)),), replace(server.effective, gpu_layers=count), "")


def _without_experts(server: RunningModel, count: int) -> _Candidate:
    return _Candidate((("n-cpu-moe", str(count)),), replace(server.effective, cpu_moe_layers=count), "")


def _plan(server: RunningModel, candidate: _Candidate) -> MemoryPlan | None:
    found = plan(server.model, candidate.settings, server.devices, server.draft)
    return found if isinstance(found, MemoryPlan) else None


def _is_logged(server: RunningModel, candidate: _Candidate, observed: PlacementEvidence) -> bool:
    found = _plan(server, candidate)
    if found is None:
        return False
    return all(
        (weights := part.memory.bytes_of(Segment.WEIGHTS)) is not None
        and abs(weights - observed.weights_bytes.get(part.name, 0)) <= observed.rounding_bytes
        for part in found.devices
        if part.name != HOST
    )


def _is_held(
    server: RunningModel, candidate: _Candidate, taking: tuple[PlanDevice, ...], held: Mapping[str, int]
) -> bool:
    found = _plan(server, candidate)
    if found is None:
        return False
    return all(
        (part := found.device(device.name)) is not None
        and (span := _expected(part, device)).least_bytes <= held[device.name] <= (span.most_bytes or 0)
        for device in taking
    )


def _expected(part: DeviceShare, device: PlanDevice) -> Figure:
    """What the driver should report of it: the plan, the process's own context, and what its pool has grown by."""
    api = api_named(device.compute_api)
    return part.memory.total + (api.runtime_prior or NOTHING) + api.pool_growth


def _by_driver(server: RunningModel, taking: tuple[PlanDevice, ...], held: Mapping[str, int]) -> _Candidate | None:
    """The most layers, or experts, that the driver's figure has room for; None where that does not explain it."""
    device = taking[0]

    def is_within(count: int) -> bool:
        return (_expected_at(server, device, count).value_bytes or 0) <= held[device.name]

    chosen = _at(server, largest(is_within, _most(server)))
    return chosen if _is_held(server, chosen, taking, held) else None


def _bounds(
    server: RunningModel, taking: tuple[PlanDevice, ...], held: Mapping[str, int]
) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The fewest and the most layers, or experts, on one device that its driver's figure allows; () on several."""
    if len(taking) != 1:
        return ()
    device, seen = taking[0], held[taking[0].name]
    below = largest(lambda count: (_expected_at(server, device, count).most_bytes or 0) < seen, _most(server))
    most = largest(lambda count: _expected_at(server, device, count).least_bytes <= seen, _most(server))
    least = min(below + 1, most)
    return tuple(_at(server, count).options for count in (least, most)) if least < most else ()


def _most(server: RunningModel) -> int:
    hparams = server.model.hparams
    return hparams.n_layer if hparams.n_expert else hparams.n_layer_all + 1


def _at(server: RunningModel, count: int) -> _Candidate:
    """So many layers on the devices; of a mixture, so many layers with their experts there."""
    hparams = server.model.hparams
    return _without_experts(server, hparams.n_layer - count) if hparams.n_expert else _with_layers(server, count)


def _expected_at(server: RunningModel, device: PlanDevice, count: int) -> Figure:
    found = _plan(server, _at(server, count))
    part = None if found is None else found.device(device.name)
    return NOTHING if part is None else _expected(part, device)
