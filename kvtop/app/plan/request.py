"""What was asked, and the machine that it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvtop.domain.answers.plan_answer import PlanAnswer, device_fit
from kvtop.domain.compute_api import UNKNOWN_API, ComputeApi, api_named
from kvtop.domain.device import Device
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.commands.command import Command
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.gpus.visible_devices import chosen_specs, plan_device, usable_devices, visible_devices
from kvtop.planning.llamacpp.memory.placement import api_of_device_names

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

    def path_here(self, path: str) -> str:
        """A path of the command as it is known here: inside a container it may be a mounted one."""
        container = self.command.container
        found = path if container is None else container.outside(path)
        home = self.environ.get("HOME")
        return f"{home}{found[1:]}" if found != path and found.startswith("~") and home else found

    @property
    def environment(self) -> dict[str, str]:
        """What the server would see."""
        return {**self.environ, **dict(self.command.variables)}


@dataclass(frozen=True, slots=True)
class Machine:
    """What to plan for. `host_bytes` None: the host is another one, or cannot be read.

    `host_total_bytes` is all of its memory, which llama.cpp's `--fit` goes by where there is no accelerator.
    `is_stated`: the devices are those of `--gpu`, whose free memory is what the engine's process sees.
    """

    devices: tuple[PlanDevice, ...]
    host_bytes: int | None
    notes: tuple[str, ...] = ()
    host_total_bytes: int | None = None
    is_stated: bool = False

    def devices_as_seen(self) -> tuple[PlanDevice, ...]:
        """The devices as the engine's own process finds them: its API takes a part before anything is loaded."""
        if self.is_stated:
            return self.devices
        return tuple(
            it if it.free_bytes is None else replace(it, free_bytes=max(it.free_bytes - _context_bytes(it), 0))
            for it in self.devices
        )

    def room_bytes(self) -> dict[str, int | None]:
        """Memory that is there by device: free now, else all of it."""
        rooms = {it.name: it.total_bytes if it.free_bytes is None else it.free_bytes for it in self.devices}
        return {**rooms, "host": self.host_bytes}


def read_machine(request: PlanRequest) -> Machine:
    """The devices of `--gpu`, or this machine's as the server would see them."""
    if request.gpu_specs:
        devices = parse_gpu_specs(request.gpu_specs)
        if devices:
            # Of this process's own environment nothing is meant: --gpu is another machine.
            return Machine(chosen_specs(devices, dict(request.command.variables)), None, is_stated=True)
        from kvtop.sources.devices.host import host_memory  # noqa: PLC0415  psutil, only when it is asked for

        memory = host_memory()
        return Machine((), memory.free_bytes, host_total_bytes=memory.total_bytes, is_stated=True)
    from kvtop.sources.devices import device_reader  # noqa: PLC0415  the driver, only when nothing was said
    from kvtop.sources.devices.makers import accelerator_makers, without_missing_makers  # noqa: PLC0415  likewise

    found, failures = device_reader().read_once(DRIVER_SECONDS)
    failures = without_missing_makers(failures, found, accelerator_makers())
    host = next((device for device in found if device.is_host), None)
    devices, left_out = _seen_by_the_server(found, request)
    return Machine(
        devices,
        None if host is None else host.memory.free_bytes,
        (*(f"{failure.source}: {failure.message}" for failure in failures), *left_out),
        None if host is None else host.memory.total_bytes,
    )


def _seen_by_the_server(
    found: tuple[Device, ...], request: PlanRequest
) -> tuple[tuple[PlanDevice, ...], tuple[str, ...]]:
    """This machine's devices as the server numbers them, and a note on cards that its API does not reach.

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
    return tuple(devices), tuple(notes)


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
    rooms = machine.room_bytes()
    products = {device.name: device.product for device in machine.devices}
    apis = dict.fromkeys(api_named(device.compute_api) for device in machine.devices)
    return PlanAnswer(
        plan,
        tuple(
            device_fit(
                part,
                rooms.get(part.name),
                products.get(part.name, ""),
                is_compute_known=plan.is_compute_known,
            )
            for part in plan.devices
        ),
        notes=(*machine.notes, *(note for api in apis for note in _context_note(api, is_stated=machine.is_stated))),
    )


def _context_bytes(device: PlanDevice) -> int:
    """What the API likely takes for a process on this device."""
    prior = api_named(device.compute_api).runtime_prior
    return 0 if prior is None else prior.value_bytes


def _context_note(api: ComputeApi, *, is_stated: bool) -> tuple[str, ...]:
    """What a plan leaves out where an API takes memory for each process."""
    prior = api.runtime_prior
    if prior is None:
        return ()
    low, high = (f"{size_bytes / 2**30:.1f}" for size_bytes in (prior.value_bytes, prior.high_bytes))
    taken = f"{low} to {high} GiB with {api.title}"
    if is_stated:
        words = "--gpu SIZE, or its free=SIZE, is what the driver reports as free to the server's own process"
        return (f"{words}: what the driver takes per process and card ({taken}) is already excluded",)
    return (f"excludes what the driver itself takes per process and card ({taken})",)
