"""Options of a vLLM that stand in the labels of `vllm:cache_config_info` (vLLM 0.32.0, `config/cache.py`)."""

from collections.abc import Mapping

from kvtop.domain.launch import LaunchOption, Origin

_OPTIONS = {
    "cache_dtype": "kv-cache-dtype",
    "enable_prefix_caching": "enable-prefix-caching",
    "gpu_memory_utilization": "gpu-memory-utilization",
    "num_gpu_blocks_override": "num-gpu-blocks-override",
    "kv_cache_memory_bytes": "kv-cache-memory-bytes",
}
_SWITCHES = {"True": "true", "False": "false"}


def stated_options(labels: Mapping[str, str]) -> tuple[LaunchOption, ...]:
    """Those that have a value; every label is the text of a Python value, "None" where nothing was set."""
    return tuple(
        LaunchOption(name, _SWITCHES.get(labels[label], labels[label]), Origin.ENDPOINT, "vllm:cache_config_info")
        for label, name in _OPTIONS.items()
        if labels.get(label) not in {None, "", "None"}
    )
