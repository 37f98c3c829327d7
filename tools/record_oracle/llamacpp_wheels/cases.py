"""What is asked of every build: small models under options that decide about caches and compute buffers.

Models are those of the newest build's fixtures, cut down to their first layers, so that a real server of any build can
load one in a second.
"""

from typing import Any

LAYERS = {
    "gemma-3-270m": 18,
    "llama-3.1-8b": 2,
    "lfm2-1.2b": 4,
    "qwen3-30b-a3b": 2,
    "mamba2-2.7b": 2,
    "falcon-h1-7b": 2,
    "phi-3-mini": 2,
    "smollm3-3b": 4,
    "bge-small-en": 2,
    "gemma-2-9b": 4,
}
"""Model -> how many of its layers are kept."""

_CACHES = (
    "-c 1000",
    "-c 3000",
    "-c 4096",
    "-c 3000 -np 3",
    "-c 3000 -np 3 -kvu",
    "-c 8192 -np 4",
    "-c 8192 -np 4 -kvu",
    "-c 10000 -np 7",
    "-c 3000 -fa on",
    "-c 3000 -fa off",
    "-c 3000 -np 3 -fa off",
    "-c 3000 -np 3 -kvu -fa off",
    "-c 3000 -fa auto",
    "-c 4096 -ub 128",
    "-c 4096 -ub 1024",
    "-c 4096 -b 256",
    "-c 4096 -np 2 -ub 64 -b 512",
    "-c 4096 -fa on -ctk q8_0 -ctv q8_0",
    "-c 4096 -fa on -ctk q8_0",
    "-c 4096 -fa off -ctk q8_0",
    "-c 4096 -fa on -ctk q4_0 -ctv q4_0",
    "-c 4096 -fa off -ctv q8_0",
)
_WINDOWS = (
    "-c 4096 --swa-full",
    "-c 8192 -np 4 --swa-full",
    "-c 8192 -np 4 -kvu --swa-full",
    "-c 6000 -b 1024 -ub 256",
)
_FEW = ("-c 4096", "-c 3000 -np 3", "-c 3000 -np 3 -kvu", "-c 4096 -fa off", "-c 4096 -ub 128")

_ASKED_MORE = frozenset({"gemma-3-270m", "llama-3.1-8b", "gemma-2-9b"})

CASES: tuple[tuple[str, str], ...] = (
    *(("gemma-3-270m", flags) for flags in (*_CACHES, *_WINDOWS)),
    *(("llama-3.1-8b", flags) for flags in _CACHES),
    *(("gemma-2-9b", flags) for flags in (*_FEW, *_WINDOWS)),
    *(
        (model, flags)
        for model in LAYERS
        if model not in {"gemma-3-270m", "llama-3.1-8b", "gemma-2-9b"}
        for flags in _FEW
    ),
)
"""(model, options of llama-server)."""


def shortened(model: dict[str, Any], layers: int) -> dict[str, Any]:
    """A recorded model with its first layers only: keys and lists by layer follow."""
    kv = {key: list(value) for key, value in model["kv"].items()}
    arch = kv["general.architecture"][1]
    count = kv[f"{arch}.block_count"]
    before, count[1] = count[1], layers
    for key, pair in kv.items():
        if key.startswith(f"{arch}.") and isinstance(pair[1], list) and len(pair[1]) == before:
            pair[1] = pair[1][:layers]
    tensors = []
    for name, kind, shape, *rest in model["tensors"]:
        where = rest[0] if rest else None
        kept = [layer for layer in _flat(where) if layer < layers]
        if where is None:
            tensors.append([name, kind, shape])
        elif kept:
            tensors.append([name, kind, shape, kept])
    return {"kv": kv, "tensors": tensors}


def _flat(where: list[Any] | None) -> list[int]:
    return [
        layer
        for entry in where or ()
        for layer in (range(entry[0], entry[1] + 1) if isinstance(entry, list) else (entry,))
    ]
