"""The scenario library: invented hosts, as Samples. Rules, `--demo`, golden screens and the README draw on it.

A scenario is one file with `at`, a function from seconds since its start to a Sample, and a line in `SCENARIOS`.
It holds what a driver, a kernel and an endpoint would say, never what follows from it.
"""

from kvtop.sources.demo import (
    arc_b580,
    busy_32,
    containers,
    cpu_only,
    filling_up,
    gb10_unified,
    gpu_lost,
    h100x8_vllm_tp,
    inside_container,
    locked_endpoint,
    mac_mlx,
    magic_combo_trap,
    mig_slices,
    mixed_host,
    nothing,
    rtx4090_llamacpp,
    rx7900xtx,
    shared_card,
    sleeping,
    strix_halo,
    wsl_na,
)
from kvtop.sources.demo.timeline import EPOCH, Scenario, play
from kvtop.text import did_you_mean

__all__ = ["EPOCH", "SCENARIOS", "Scenario", "play", "scenario"]

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("rtx4090_llamacpp", "one 24 GB card, Gemma 3 27B under llama.cpp, slots filling", rtx4090_llamacpp.at),
    Scenario("cpu_only", "no accelerator: Llama 3.1 8B in host memory", cpu_only.at),
    Scenario("gpu_lost", "the card falls off the bus after three seconds", gpu_lost.at),
    Scenario("locked_endpoint", "a server whose endpoint wants an API key", locked_endpoint.at),
    Scenario("nothing", "a host without servers", nothing.at),
    Scenario("h100x8_vllm_tp", "eight H100: vLLM over all of them, and a second one over four", h100x8_vllm_tp.at),
    Scenario("mac_mlx", "unified memory: mlx_lm.server on a Mac", mac_mlx.at),
    Scenario(
        "magic_combo_trap", "4-bit keys under 8-bit values: the pair that some guides call magic", magic_combo_trap.at
    ),
    Scenario("mixed_host", "llama.cpp, vLLM, MLX and Ollama side by side", mixed_host.at),
    Scenario("mig_slices", "a card cut into slices, a server on each", mig_slices.at),
    Scenario("wsl_na", "a driver that lists processes without their memory", wsl_na.at),
    Scenario("containers", "servers in Docker, Podman and Kubernetes, seen from the host", containers.at),
    Scenario(
        "inside_container", "kvtop inside a container: the driver's pids are those of the host", inside_container.at
    ),
    Scenario("gb10_unified", "a card that shares the machine's memory and has no total of its own", gb10_unified.at),
    Scenario("shared_card", "three servers, a notebook and a desktop on one card", shared_card.at),
    Scenario("filling_up", "a cache that is full within minutes, on a card without room", filling_up.at),
    Scenario("sleeping", "servers that gave their memory back until the next request", sleeping.at),
    Scenario("rx7900xtx", "one 24 GB Radeon: llama.cpp by ROCm and by Vulkan, under a desktop", rx7900xtx.at),
    Scenario("strix_halo", "graphics that map the machine's memory: Gemma 3 27B by Vulkan", strix_halo.at),
    Scenario("arc_b580", "a 12 GB Arc card whose driver reports what is used to root only", arc_b580.at),
    Scenario("busy_32", "eight cards and 32 servers, all busy", busy_32.at),
)
"""Every scenario; the first is what `kvtop --demo` plays."""


def scenario(name: str) -> Scenario:
    """The scenario of that name. Raises KeyError whose text lists the names there are."""
    for candidate in SCENARIOS:
        if candidate.name == name:
            return candidate
    names = [item.name for item in SCENARIOS]
    raise KeyError(f"no scenario {name!r}{did_you_mean(name, names)} (there are: {', '.join(names)})")
