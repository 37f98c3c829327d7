"""Which layers slide a window and which are recurrent (`load_arch_hparams` of src/models/*.cpp, b11434)."""

from dataclasses import dataclass

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.llamacpp.model.metadata import ArchitectureKeys
from kvtop.planning.llamacpp.rules.traits import Window

_WINDOW = "attention.sliding_window"
_PATTERN = "attention.sliding_window_pattern"


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """`kind` "none" turns everything off. `layers` has one entry per block."""

    kind: str
    tokens: int
    layers: tuple[bool, ...]


def sliding_window(
    keys: ArchitectureKeys, n_layer: int, n_layer_all: int, recurrent: tuple[bool, ...]
) -> SlidingWindow:
    """The window of this file, as the engine resolves it."""
    none = SlidingWindow("none", 0, (False,) * n_layer_all)
    window = keys.traits.window
    if window is not None and window.of_attention:
        tokens = keys.integer(_WINDOW, 0)
        attention = tuple(not entry for entry in recurrent[:n_layer]) + (False,) * (n_layer_all - n_layer)
        return SlidingWindow("standard", tokens, attention) if tokens > 0 else none
    if window is None or window.layers not in {None, n_layer}:
        return none
    if window.off_at_zero and keys.has(_WINDOW) and keys.integer(_WINDOW) == 0:
        return none
    return _resolve(keys, window, n_layer, n_layer_all, none)


def _resolve(
    keys: ArchitectureKeys, window: Window, n_layer: int, n_layer_all: int, none: SlidingWindow
) -> SlidingWindow:
    if window.when == "if_set":
        tokens = keys.integer(_WINDOW, 0)
        if tokens <= 0:
            return none
    else:
        tokens = keys.integer(_WINDOW, window.default_tokens)
    if window.forced_tokens is not None:
        tokens = window.forced_tokens
    listed = keys.array(_PATTERN) if window.listed and window.reads_pattern else None
    if listed is not None:
        # llama.cpp copies what is there; blocks beyond the list stay dense.
        flags = tuple(bool(entry) for entry in listed[:n_layer_all])
        return SlidingWindow(window.kind, tokens, flags + (False,) * (n_layer_all - len(flags)))
    if window.pattern is None:
        raise MalformedModelError(f"key not found in model: {keys.arch}.{_PATTERN}")
    if not window.listed:
        # DeepSeek V4: all blocks, prediction blocks included.
        return SlidingWindow(window.kind, tokens, (True,) * n_layer_all)
    every = keys.integer(_PATTERN, window.pattern) if window.reads_pattern else window.pattern
    layers = tuple(_slides(layer, every, window.dense_first) for layer in range(n_layer))
    return SlidingWindow(window.kind, tokens, layers + (False,) * (n_layer_all - n_layer))


def _slides(layer: int, every: int, dense_first: bool) -> bool:
    if every == 0:
        return True
    return layer % every != 0 if dense_first else layer % every < every - 1


def recurrent_layers(
    keys: ArchitectureKeys, n_layer: int, n_layer_all: int, n_head_kv: tuple[int, ...], n_ff: tuple[int, ...]
) -> tuple[bool, ...]:
    """`hparams.is_recr_impl` of this file."""
    which, layers = keys.traits.recurrent_layers, range(n_layer_all)
    if which == "all":
        return (True,) * n_layer_all
    if which == "without_kv_heads":
        counted = n_layer_all if keys.traits.counts_prediction else n_layer
        return tuple(layer < counted and n_head_kv[layer] == 0 for layer in layers)
    if which == "without_kv_heads_or_feed_forward":
        return tuple(layer < n_layer and n_head_kv[layer] == 0 and n_ff[layer] == 0 for layer in layers)
    if which == "interval":
        key = "attention.recurrent_layers"
        if keys.has(key):
            return tuple(bool(entry) for entry in keys.per_layer(key, n_layer_all))
        interval = keys.integer("full_attention_interval", keys.traits.attention_interval)
        if interval == 0:
            raise MalformedModelError(f"{keys.arch}.full_attention_interval is 0")
        return tuple(layer < n_layer and (layer + 1) % interval != 0 for layer in layers)
    return (False,) * n_layer_all
