"""Which device holds which layer (`llama_model_base::load_tensors`, src/llama-model.cpp, b11434)."""

from dataclasses import dataclass

HOST = "host"


@dataclass(frozen=True, slots=True)
class Placement:
    """Device names ("gpu0", "host") for the blocks and the output layer; input embeddings are always on the host."""

    devices: tuple[str, ...]
    """Accelerators that take part, in llama.cpp's order."""
    layers: tuple[str, ...]
    """Device of each of `n_layer_all` blocks: its weights, and its cache unless `kv_on_host`."""
    output: str
    kv_on_host: bool
    pipeline_parallel: bool
    """Several devices, all layers offloaded: the scheduler keeps four copies of inputs."""
    split_mode: str

    def cache_device(self, layer: int) -> str:
        """Where the cache of that block lives."""
        return HOST if self.kv_on_host else self.layers[layer]
