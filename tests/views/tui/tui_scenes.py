"""Frames to draw, made by hand from domain values: no source, no analysis, no clock."""

from dataclasses import replace

from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.frame import DeviceView, Finding, Frame, KvCacheView, ServerView, Split
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.sample import Failure
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState, Slot
from kvtop.planning.registry import display_name
from kvtop.sources.devices.nvml import NVML

MIB = 1 << 20
GIB = 1 << 30
NOW = 1_790_000_000.0
NO_PART_KNOWN = Memory.of({segment: UNKNOWN for segment in Segment if segment is not Segment.OUTPUT})


def _figure(size_bytes: int, basis: Basis, source: str, spread: int = 0) -> Figure:
    low, high = (size_bytes - spread, size_bytes + spread) if spread else (None, None)
    return Figure(size_bytes, basis, low, high, source)


def _split(device_id: str, driver: int, *, weights: int, kv: int, used: int, compute: int, runtime: int) -> Split:
    known = weights + kv + compute + runtime
    return Split(
        device_id,
        _figure(driver, Basis.MEASURED, "NVML: memory of pid 4711 on this device"),
        Memory.of(
            {
                Segment.WEIGHTS: _figure(
                    weights, Basis.COMPUTED, "tensor sizes of the model file; all 63 layers on this device (-ngl 99)"
                ),
                Segment.KV_CACHE: _figure(
                    kv, Basis.COMPUTED, "llama.cpp b11434: 62 layers, q8_0, window 1024 on 52 of them"
                ),
                Segment.RECURRENT: _figure(0, Basis.COMPUTED, "no recurrent layer in gemma3"),
                Segment.COMPUTE: _figure(compute, Basis.ESTIMATED, "fitted on 400 recorded starts", 24 * MIB),
                Segment.RUNTIME: _figure(
                    runtime, Basis.ESTIMATED, "CUDA 12.8 context on compute capability 8.9", 18 * MIB
                ),
                Segment.UNATTRIBUTED: _figure(
                    driver - known, Basis.RESIDUAL, "the driver's figure less everything above"
                ),
            }
        ),
        used,
    )


def _gpu(name: str, index: int, total: int, used: int, **more: object) -> Device:
    device = Device(
        id=f"gpu{index}",
        name=name,
        driver=NVML,
        memory=DeviceMemory(total, used, total - used - 400 * MIB, 400 * MIB),
        processes=(ProcessMemory(4711, used - 600 * MIB, ("compute",)),),
        measured_at=NOW,
        compute_capability=(8, 9),
        utilization_ratio=0.87,
        temperature_celsius=61.0,
        power_watts=312.4,
        power_limit_watts=450.0,
    )
    return replace(device, **more)  # type: ignore[arg-type]  # the caller names fields of Device


def _host(used: int = 21 * GIB, total: int = 64 * GIB) -> DeviceView:
    memory = DeviceMemory(total, used, total - used)
    return DeviceView(Device("host", "host memory", HOST_DRIVER, memory, (), NOW), (), used, 0.0)


def _frame(devices: tuple[DeviceView, ...], servers: tuple[ServerView, ...], **more: object) -> Frame:
    frame = Frame(NOW, "tower", "0.1.0", devices, servers, ())
    return replace(frame, **more)  # type: ignore[arg-type]  # the caller names fields of Frame


_LAUNCH = LaunchOptions(
    "llama.cpp",
    (
        LaunchOption("model", "/srv/models/gemma-3-27b-it-Q4_K_M.gguf", Origin.ARGV, "-m"),
        LaunchOption("ctx-size", "65536", Origin.ARGV, "-c"),
        LaunchOption("parallel", "4", Origin.ARGV, "-np"),
        LaunchOption("cache-type-k", "q8_0", Origin.ENVIRONMENT, "LLAMA_ARG_CACHE_TYPE_K"),
        LaunchOption("cache-type-v", "q8_0", Origin.ENVIRONMENT, "LLAMA_ARG_CACHE_TYPE_V"),
        LaunchOption("gpu-layers", "99", Origin.FILE, "/etc/llama/preset.ini"),
        LaunchOption("batch-size", "2048", Origin.DEFAULT, "b11434"),
    ),
)


def rtx4090(used_tokens: tuple[int, int, int, int] = (6144, 12900, 0, 811)) -> Frame:
    """One card, one llama.cpp server of Gemma 3 27B with four slots; the desktop takes the rest."""
    kv = 2176 * MIB
    used = kv * sum(used_tokens) // 65536
    split = _split("gpu0", 19_456 * MIB, weights=16_546 * MIB, kv=kv, used=used, compute=522 * MIB, runtime=180 * MIB)
    reading = ServerReading(
        id="127.0.0.1:8080",
        engine="llama.cpp",
        state=ServerState.READY,
        version="b11434",
        url="http://127.0.0.1:8080",
        pids=(4711,),
        model=ModelFacts(
            "gemma-3-27b-it-Q4_K_M.gguf",
            "/srv/models/gemma-3-27b-it-Q4_K_M.gguf",
            "Q4_K_M",
            27_009_346_304,
            16_546 * MIB,
            131072,
        ),
        launch=_LAUNCH,
        slot_context_tokens=16384,
        slot_count=4,
        slots=tuple(Slot(i, 16384, n, n > 6000) for i, n in enumerate(used_tokens)),
        counters=Counters(requests_waiting=0.0),
    )
    cache = KvCacheView(
        "q8_0", "q8_0", "environment", 65536, sum(used_tokens), sum(used_tokens) / 65536, bytes_per_token=42_240.0
    )
    finding = Finding(
        "KV104",
        "idle-slots",
        "info",
        "127.0.0.1:8080",
        "One of four slots has held nothing since kvtop started.",
        "slot 2: 0 of 16384 tokens",
        "-np 3 gives each slot 21845 tokens in the same memory.",
    )
    server = ServerView(reading, (split,), cache, None, "", 812.0, 38.4, (finding,), engine_title="llama.cpp")
    device = _gpu("NVIDIA GeForce RTX 4090", 0, 24_564 * MIB, 20_900 * MIB)
    view = DeviceView(device, ((reading.id, split),), 1044 * MIB, 0.1)
    return _frame((view, _host()), (server,))


_MODELS = (
    ("vllm", "meta-llama/Llama-3.3-70B-Instruct-FP8", "fp8", 0.71),
    ("llama.cpp", "Qwen3-Coder-30B-A3B-Instruct-UD-Q4_K_XL.gguf", "q8_0", 0.32),
    ("vllm", "mistralai/Mistral-Small-3.2-24B-Instruct-2506-AWQ", "auto", 0.08),
    ("llama.cpp", "DeepSeek-R1-Distill-Llama-8B-Q6_K-00001-of-00002.gguf", "f16", 0.97),
)


def h100x8() -> Frame:
    """Eight cards, 32 servers, four on each."""
    servers: list[ServerView] = []
    placed: list[list[tuple[str, Split]]] = [[] for _ in range(8)]
    for index in range(32):
        engine, model, cache_type, ratio = _MODELS[index % 4]
        device_id = f"gpu{index // 4}"
        size = (8 + index % 5) * GIB
        kv = (3 + index % 3) * GIB
        split = _split(
            device_id,
            size + kv + 1300 * MIB,
            weights=size,
            kv=kv,
            used=int(kv * ratio),
            compute=700 * MIB,
            runtime=500 * MIB,
        )
        reading = ServerReading(
            f"127.0.0.1:{8000 + index}",
            engine,
            ServerState.READY,
            url=f"http://127.0.0.1:{8000 + index}",
            pids=(5000 + index,),
            model=ModelFacts(model),
        )
        cache = KvCacheView(cache_type, cache_type, "argv", 131072, int(131072 * ratio), ratio, index % 4 == 1)
        finding = Finding("KV201", "nearly-full", "warning", reading.id, "The KV cache is nearly full.")
        servers.append(
            ServerView(
                reading,
                (split,),
                cache,
                None,
                "",
                900.0,
                40.0 + index,
                (finding,) if ratio > 0.9 else (),
                engine_title=display_name(engine),
            )
        )
        placed[index // 4].append((reading.id, split))
    devices = []
    for index, splits in enumerate(placed):
        used = sum(split.driver.value_bytes or 0 for _, split in splits)
        device = _gpu("NVIDIA H100 80GB HBM3", index, 81_559 * MIB, used + 500 * MIB)
        devices.append(DeviceView(device, tuple(splits), 0, 0.2))
    return _frame(tuple(devices), tuple(servers), host="dgx-h100-07")


def driver_hung() -> Frame:
    """The driver has not answered for twelve seconds; a second card fell off the bus."""
    frame = rtx4090()
    first = frame.devices[0]
    stale = replace(first, device=replace(first.device, state=DeviceState.STALE), age_seconds=12.3)
    lost = replace(
        _gpu("NVIDIA GeForce RTX 3090", 1, 24_576 * MIB, 0),
        state=DeviceState.LOST,
        memory=DeviceMemory(),
        processes=None,
        note="GPU is lost: fell off the bus",
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
    )
    failures = (
        Failure("nvml", "nvmlDeviceGetMemoryInfo_v2 has not come back for 12 s", "dmesg | grep -i xid; nvidia-smi -q"),
        Failure("nvml gpu1", "GPU is lost", "Reset the card or restart the machine."),
        Failure("pid 4711 environ", "permission denied", "Run kvtop as the user of the server, or as root."),
    )
    devices = (stale, DeviceView(lost, (), None, 12.3), frame.devices[1])
    return replace(frame, devices=devices, failures=failures, pending=("http://127.0.0.1:8090/props",))


def odd_states() -> Frame:
    """A server that loads, one that wants a key, one that sleeps, one that is gone, one elsewhere."""
    frame = rtx4090()
    unknown = KvCacheView(None, None, "", None, None, None)
    rows = (
        (ServerState.LOADING, "gemma-3-27b-it-Q4_K_M.gguf", ""),
        (ServerState.LOCKED, None, "Give kvtop the key: --api-key-file PATH"),
        (ServerState.SLEEPING, "gpt-oss-20b-mxfp4.gguf", "It wakes with the next request."),
        (ServerState.UNREACHABLE, "Qwen3-32B-AWQ", "Nothing listens there any more."),
    )
    servers = tuple(
        ServerView(
            ServerReading(
                f"127.0.0.1:{8081 + index}", "llama.cpp", state, hint=hint, pids=(4712 + index,), model=ModelFacts(name)
            ),
            (Split("gpu0", _figure(512 * MIB, Basis.MEASURED, "NVML"), NO_PART_KNOWN),) if index < 2 else (),
            unknown,
            None,
            "The model file could not be read.",
        )
        for index, (state, name, hint) in enumerate(rows)
    )
    return replace(frame, servers=(*frame.servers, *servers))


def host_only() -> Frame:
    """No driver: host memory only, and nobody serves."""
    failure = Failure("nvml", "libnvidia-ml.so.1 not found", "Install the NVIDIA driver, or ignore this on a CPU host.")
    return _frame((_host(),), (), failures=(failure,))


def nothing() -> Frame:
    """Nothing at all."""
    return _frame((), ())


def looking() -> Frame:
    """Probes are out."""
    return _frame((), (), pending=("nvml", "http://127.0.0.1:8080/props"))


SCENES = {scene.__name__: scene for scene in (rtx4090, h100x8, driver_hung, odd_states, host_only, nothing, looking)}
