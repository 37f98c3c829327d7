"""The scenario library: invented hosts, as Samples. Rules, `--demo`, golden screens and the README draw on it.

A scenario is a function from seconds since its start to a Sample; it has no clock of its own, so a picture of second 8
is the same picture for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.process import Listener, Process
from kvtop.domain.sample import Failure, Sample
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState, Slot
from kvtop.sources.demo_models import gemma3_27b, llama31_8b

EPOCH = 1795392000.0
"""When every scenario begins (Unix time)."""
_GIB = 1024**3
_MIB = 1024**2
_GEMMA = "/models/gemma-3-27b-it-Q4_K_M.gguf"
_LLAMA = "/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"
_TOKENS_PER_SECOND = 32


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named host: what it shows, and its Sample at a second."""

    name: str
    shows: str
    at: Callable[[float], Sample]


def _models() -> Mapping[str, GgufHeader]:
    return {_GEMMA: gemma3_27b(_GEMMA), _LLAMA: llama31_8b(_LLAMA)}


_MODELS = _models()


def _options(*pairs: tuple[str, str, str]) -> LaunchOptions:
    return LaunchOptions(
        "llama.cpp", tuple(LaunchOption(name, value, Origin.ARGV, flag) for name, value, flag in pairs)
    )


def _slots(second: float, contexts: tuple[int, ...], prompts: tuple[int, ...]) -> tuple[Slot, ...]:
    """Slots that took a prompt at second 0 and generate until their context is full."""
    slots = []
    for index, (context, prompt) in enumerate(zip(contexts, prompts, strict=True)):
        if prompt == 0:
            slots.append(Slot(index, context, 0, False, None))
            continue
        decoded = min(int(second * _TOKENS_PER_SECOND), context - prompt)
        slots.append(Slot(index, context, prompt + decoded, prompt + decoded < context, decoded))
    return tuple(slots)


def _gemma_server(second: float) -> ServerReading:
    slots = _slots(second, (32768,) * 4, (14200, 6100, 900, 0))
    return ServerReading(
        id="127.0.0.1:8080",
        engine="llama.cpp",
        state=ServerState.READY,
        version="b11434",
        url="http://127.0.0.1:8080",
        pids=(4711,),
        model=ModelFacts(_GEMMA, _GEMMA, "Q4_K - Medium", 27_009_346_304, None, 131072),
        launch=_options(
            ("model", _GEMMA, "-m"),
            ("ctx-size", "32768", "-c"),
            ("cache-type-k", "q8_0", "-ctk"),
            ("cache-type-v", "q8_0", "-ctv"),
            ("flash-attn", "on", "-fa"),
            ("metrics", "true", "--metrics"),
            ("port", "8080", "--port"),
        ),
        slot_context_tokens=32768,
        slot_count=4,
        slots=slots,
        counters=Counters(prompt_tokens_total=21200.0, requests_processing=3.0),
        model_key=_GEMMA,
    )


def _process(pid: int, name: str, model: str, port: int, rss_bytes: int) -> Process:
    argv = ("/opt/llama.cpp/bin/llama-server", "-m", model, "--port", str(port))
    return Process(
        pid=pid,
        ppid=1,
        name=name,
        argv=argv,
        executable=argv[0],
        environ=(),
        user="llm",
        started_at=EPOCH - 7200,
        rss_bytes=rss_bytes,
        listeners=(Listener("127.0.0.1", port),),
    )


def _host_memory(second: float, total_gib: int, used_gib: int) -> Device:
    total, used = total_gib * _GIB, used_gib * _GIB
    return Device(
        "host", "host memory", "host", DeviceMemory(total, used, total - used), (), measured_at=EPOCH + second
    )


def _card(second: float, *, used_bytes: int, processes: tuple[ProcessMemory, ...]) -> Device:
    total_bytes, reserved_bytes = 24564 * _MIB, 434 * _MIB
    return Device(
        id="gpu0",
        name="NVIDIA GeForce RTX 4090",
        backend="nvml",
        memory=DeviceMemory(total_bytes, used_bytes, total_bytes - used_bytes - reserved_bytes, reserved_bytes),
        processes=processes,
        measured_at=EPOCH + second,
        uuid="GPU-5a3c1f00-0000-4000-8000-000000004090",
        compute_capability=(8, 9),
        utilization_ratio=0.93,
        temperature_celsius=71.0,
        power_watts=388.0,
        power_limit_watts=450.0,
    )


def _rtx4090(second: float) -> Sample:
    server_bytes, desktop_bytes = 19_480 * _MIB, 612 * _MIB
    card = _card(
        second,
        used_bytes=server_bytes + desktop_bytes,
        processes=(ProcessMemory(4711, server_bytes, ("compute",)), ProcessMemory(980, desktop_bytes, ("graphics",))),
    )
    return Sample(
        taken_at=EPOCH + second,
        host="workstation",
        devices=(card, _host_memory(second, 64, 19)),
        processes=(_process(4711, "llama-server", _GEMMA, 8080, 1_950 * _MIB),),
        servers=(_gemma_server(second),),
        models=_MODELS,
    )


def _cpu_only(second: float) -> Sample:
    reading = ServerReading(
        id="127.0.0.1:8081",
        engine="llama.cpp",
        state=ServerState.READY,
        version="b11434",
        url="http://127.0.0.1:8081",
        pids=(812,),
        model=ModelFacts(_LLAMA, _LLAMA, "Q4_K - Medium", 8_030_261_312, None, 131072),
        launch=_options(("model", _LLAMA, "-m"), ("ctx-size", "16384", "-c"), ("parallel", "2", "-np")),
        slot_context_tokens=8192,
        slot_count=2,
        slots=_slots(second, (8192, 8192), (3100, 0)),
        model_key=_LLAMA,
    )
    return Sample(
        taken_at=EPOCH + second,
        host="small-box",
        devices=(_host_memory(second, 32, 11),),
        processes=(_process(812, "llama-server", _LLAMA, 8081, 7_050 * _MIB),),
        servers=(reading,),
        models=_MODELS,
        failures=(
            Failure("nvml", "no NVIDIA driver library on this machine", "nothing to do unless it has an NVIDIA card"),
        ),
    )


def _gpu_lost(second: float) -> Sample:
    base = _rtx4090(second)
    lost = second >= 3
    card = base.devices[0]
    if lost:
        card = replace(
            card,
            state=DeviceState.LOST,
            note="GPU is lost: it fell off the bus",
            measured_at=EPOCH + 2,
        )
    return replace(base, devices=(card, *base.devices[1:]))


def _locked(second: float) -> Sample:
    base = _rtx4090(second)
    locked = replace(
        base.servers[0],
        state=ServerState.LOCKED,
        slots=None,
        slot_context_tokens=None,
        slot_count=None,
        hint="the endpoint wants an API key: put it in KVTOP_API_KEY or in the configuration file",
    )
    return replace(base, servers=(locked,))


def _nothing(second: float) -> Sample:
    return Sample(EPOCH + second, "fresh-host", (_host_memory(second, 16, 3),))


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("rtx4090_llamacpp", "one 24 GB card, Gemma 3 27B under llama.cpp, slots filling", _rtx4090),
    Scenario("cpu_only", "no accelerator: Llama 3.1 8B in host memory", _cpu_only),
    Scenario("gpu_lost", "the card falls off the bus after three seconds", _gpu_lost),
    Scenario("locked_endpoint", "a server whose endpoint wants an API key", _locked),
    Scenario("nothing", "a host without servers", _nothing),
)
"""Every scenario; the first is what `kvtop --demo` plays."""


def scenario(name: str) -> Scenario:
    """The scenario of that name. Raises KeyError whose text lists the names there are."""
    for candidate in SCENARIOS:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no scenario {name!r}; there are: {', '.join(item.name for item in SCENARIOS)}")


async def play(chosen: Scenario, interval_seconds: float) -> AsyncIterator[Sample]:
    """The scenario in real time, a Sample every `interval_seconds`, for ever."""
    second = 0.0
    while True:
        yield chosen.at(second)
        await asyncio.sleep(interval_seconds)
        second += interval_seconds
