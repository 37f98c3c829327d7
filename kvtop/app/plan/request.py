"""What was asked, and the machine that it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvtop.domain.answers.plan_answer import PlanAnswer, plan_fits
from kvtop.domain.answers.room import Room, room_of
from kvtop.domain.compute_api import UNKNOWN_API, ComputeApi, api_named
from kvtop.domain.device import Device, ProcessMemory
from kvtop.domain.figure import NOTHING
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.commands.command import Command
from kvtop.planning.gpus.reserve import FreeSays, as_seen, with_reserve
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.gpus.visible_devices import chosen_specs, plan_device, usable_devices, visible_devices
from kvtop.planning.llamacpp.memory.placement import api_of_device_names
from kvtop.planning.registry import traits_of

DRIVER_SECONDS = 5.0
"""How long a driver may take to answer before it counts as absent."""


class UsageError(Exception):
    """str() is one line for a person: what is wrong and what would be accepted."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What was asked. `environ` is this process's; the command's own variables come on top."""

    command: Command
    gpu_specs: tuple[str, ...] = ()
    at_tokens: int | None = None
    assume_full_attention: bool = False
    verify: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    engine_version: str | None = None
    """The engine's version as `--engine-version` names it."""
    host_bytes: int | None = None
    """The machine's memory as `--host` names it; None: measured, where this machine is meant."""
    version_source: str = "--engine-version"
    """What says `engine_version`."""
    display: str = ""
    """What was typed, where that is not the server's own command."""
    notes: tuple[str, ...] = ()
    """What a person has to know of the command itself."""

    def path_here(self, path: str) -> str:
        """A path of the command as it is known here: inside a container it may be a mounted one."""
        container = self.command.container
        found = path if container is None else container.outside(path)
        home = self.environ.get("HOME")
        return f"{home}{found[1:]}" if found != path and found.startswith("~") and home else found

    def limited(self, host_bytes: int | None) -> int | None:
        """Host memory, or what the command's container may have of it where that is less."""
        limit = None if self.command.container is None else self.command.container.memory_bytes
        return min((it for it in (host_bytes, limit) if it is not None), default=None)

    @property
    def environment(self) -> dict[str, str]:
        """What the server would see."""
        return {**self.environ, **dict(self.command.variables)}


@dataclass(frozen=True, slots=True)
class Machine:
    """What to plan for. `host_bytes` None: the host is another one, or cannot be read.

    `host_total_bytes` is all of its memory, which llama.cpp's `--fit` goes by where there is no accelerator.
    `holders` are the processes that are on a device now, by its name in a plan; of a device of `--gpu` there are none.
    """

    devices: tuple[PlanDevice, ...]
    host_bytes: int | None
    notes: tuple[str, ...] = ()
    host_total_bytes: int | None = None
    holders: Mapping[str, tuple[ProcessMemory, ...]] = field(default_factory=dict)

    def devices_as_seen(self) -> tuple[PlanDevice, ...]:
        """The devices as the engine's own process finds them: its API takes a part before anything is loaded."""
        return tuple(map(as_seen, self.devices))

    def rooms(self) -> dict[str, Room | None]:
        """What each device has for the server, and the host."""
        host = None if self.host_bytes is None else Room(self.host_bytes, self.host_total_bytes)
        return {**{it.name: room_of(it) for it in self.devices}, "host": host}


def read_machine(request: PlanRequest) -> Machine:
    """The devices of `--gpu`, or this machine's as the server would see them."""
    if request.gpu_specs:
        devices = parse_gpu_specs(request.gpu_specs)
        if devices or request.host_bytes is not None:
            # Of this process's own environment nothing is meant: --gpu is another machine.
            seen = _beside_plan(chosen_specs(devices, dict(request.command.variables)), request)
            return Machine(seen, request.limited(request.host_bytes), request.notes, request.host_bytes)
        from kvtop.sources.devices.host import host_memory  # noqa: PLC0415  psutil, only when it is asked for

        memory = host_memory()
        return Machine((), request.limited(memory.free_bytes), request.notes, memory.total_bytes)
    from kvtop.sources.devices import device_reader  # noqa: PLC0415  the driver, only when nothing was said
    from kvtop.sources.devices.makers import accelerator_makers, without_missing_makers  # noqa: PLC0415  likewise

    found, failures = device_reader().read_once(DRIVER_SECONDS)
    failures = without_missing_makers(failures, found, accelerator_makers())
    host = next((device for device in found if device.is_host), None)
    devices, left_out, holders = _seen_by_the_server(found, request)
    free_bytes, total_bytes = (None, None) if host is None else (host.memory.free_bytes, host.memory.total_bytes)
    return Machine(
        _beside_plan(devices, request),
        request.limited(free_bytes if request.host_bytes is None else request.host_bytes),
        (*request.notes, *(f"{failure.source}: {failure.message}" for failure in failures), *left_out),
        total_bytes if request.host_bytes is None else request.host_bytes,
        holders,
    )


def _beside_plan(devices: tuple[PlanDevice, ...], request: PlanRequest) -> tuple[PlanDevice, ...]:
    """Without a reserve where the engine's own plan has the context and all that is temporary in it."""
    traits = traits_of(request.command.engine)
    if traits is None or not traits.plans_whole_card:
        return devices
    return tuple(replace(device, own_context=NOTHING, pool_growth=NOTHING) for device in devices)


def _seen_by_the_server(
    found: tuple[Device, ...], request: PlanRequest
) -> tuple[tuple[PlanDevice, ...], tuple[str, ...], dict[str, tuple[ProcessMemory, ...]]]:
    """This machine's devices as the server numbers them, notes on cards that its API does not reach, and who is there.

    Where the command does not say for which API its engine was built, it is taken as the usual one of the first card.
    """
    cards = [device for device in found if not device.is_host]
    named = _named_api(request)
    first = next(iter(_without_the_processors_own(tuple(cards))), None)
    api = named or (UNKNOWN_API if first is None else first.driver.compute_api)
    seen = _without_the_processors_own(visible_devices(found, api, request.environment))
    within_reach = {device.id for device in usable_devices(found, api)}
    parents = {device.parent_id for device in cards}
    beyond = [it for it in cards if it.id not in within_reach | parents and not (seen and it.unified_memory)]
    notes = [f"{device.id} ({device.name}) is left out: a build for {api.title} does not use it" for device in beyond]
    notes += [api.free_caveat] if api.free_caveat and seen else []
    devices = (plan_device(f"gpu{at}", device, api, device.memory.free_bytes) for at, device in enumerate(seen))
    holders = {f"gpu{at}": device.processes or () for at, device in enumerate(seen)}
    return tuple(with_reserve(it, FreeSays.DRIVER) for it in devices), tuple(notes), holders


def _without_the_processors_own(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Engines leave graphics on the processor's die alone where there is a card (llama.cpp, src/llama.cpp: IGPU)."""
    return tuple(device for device in devices if not device.unified_memory) or devices


def _named_api(request: PlanRequest) -> ComputeApi | None:
    """The API whose devices the command names (`--device Vulkan0`), or None."""
    words = request.command.words
    for word, following in zip(words, (*words[1:], ""), strict=True):
        option, equals, value = word.partition("=")
        if option in {"-dev", "--device"}:
            name = api_of_device_names(value if equals else following)
            return None if name is None else api_named(name)
    return None


def answered(plan: MemoryPlan, machine: Machine) -> PlanAnswer:
    """The plan with the room that each device has for it."""
    rooms = machine.rooms()
    products = {device.name: device.product for device in machine.devices}
    return PlanAnswer(plan, plan_fits(plan, rooms, products), notes=machine.notes)
