"""Encoders of pictures and sound beside a text model: their parameters by the usual transformer's arithmetic.

A tower is some hundred million parameters beside billions; classes differ in details (merging, windows, gates), so its
size here has a range.
"""

from collections.abc import Mapping

from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix

_PARTS = ("vision_config", "vit_config", "vision_encoder", "audio_config", "sound_config", "audio_encoder_config")
_GATED = frozenset(
    {
        "gemma4_vision",
        "pixtral",
        "qwen2_5_vl",
        "glm4v_vision",
        "glm4v_moe_vision",
        "glm_ocr_vision",
        "qwen2_5_vl_vision",
    }
)
_DEFAULTS: Mapping[str, tuple[int, int, int]] = {
    "pixtral": (1024, 24, 4096),
    "siglip_vision_model": (1152, 27, 4304),
    "siglip2_vision_model": (1152, 27, 4304),
    "clip_vision_model": (1024, 24, 4096),
    "qwen3_vl": (1152, 27, 4304),
    "llama4_vision_model": (1408, 34, 5632),
    "intern_vit_6b": (3200, 45, 12800),
    "moonvit": (1152, 27, 4304),
    "gemma3n_vision": (2048, 36, 6144),
}
"""(width, layers, inner width) of a vision configuration that names nothing but its type."""
_USUAL = (1152, 27, 4304)


def encoders(view: ConfigView, text_width: int) -> tuple[Matrix, ...]:
    """The towers of a multimodal checkpoint and what joins them to the text model; empty for a text model."""
    found: list[Matrix] = []
    for name in _PARTS:
        part = view.root.get(name) or _nested(view.root, name)
        if isinstance(part, Mapping) and part:
            found += _tower(name.split("_")[0], part, text_width)
    return tuple(found)


def encoder_width(view: ConfigView) -> int:
    """The width of the picture encoder, 0 where there is none."""
    for name in _PARTS[:3]:
        part = view.root.get(name) or _nested(view.root, name)
        if isinstance(part, Mapping) and part:
            usual = _DEFAULTS.get(str(part.get("model_type", "")), _USUAL)
            return _first(part, "hidden_size", "embed_dim", "d_model", "width", "vt_hidden_size") or usual[0]
    return 0


def _nested(root: Mapping[str, object], name: str) -> object:
    thinker = root.get("thinker_config")
    return thinker.get(name) if isinstance(thinker, Mapping) else None


def _tower(word: str, part: Mapping[str, object], text_width: int) -> list[Matrix]:
    usual = _DEFAULTS.get(str(part.get("model_type", "")), _USUAL)
    width = _first(part, "hidden_size", "embed_dim", "d_model", "width", "vt_hidden_size") or usual[0]
    depth = _first(part, "num_hidden_layers", "depth", "encoder_layers", "layers", "vt_num_hidden_layers", "n_layers")
    depth = depth or usual[1]
    ratio = part.get("mlp_ratio")
    inner = _first(part, "intermediate_size", "encoder_ffn_dim", "mlp_dim", "vt_intermediate_size")
    inner = inner or (
        int(width * ratio) if isinstance(ratio, int | float) else usual[2] if width == usual[0] else 4 * width
    )
    gates = 3 if part.get("model_type") in _GATED or part.get("hidden_act") == "silu" else 2
    cut = Cut.WHOLE if str(part.get("model_type", "")).startswith("gemma") else Cut.TOWER
    found = [
        Matrix(f"{word}.blocks", 4 * width + gates * inner, width, cut, count=depth),
        Matrix(f"{word}.patches", width, _patch(part), Cut.WHOLE, is_linear=False),
    ]
    positions = _first(part, "num_position_embeddings", "position_embedding_size", "init_pos_emb_height")
    if positions:
        square = positions * positions if "init_pos_emb_height" in part else positions
        found.append(Matrix(f"{word}.positions", square, width, Cut.WHOLE, is_linear=False))
    return found + _mergers(word, part, width, text_width)


def _patch(part: Mapping[str, object]) -> int:
    patch = _first(part, "patch_size") or 14
    channels, frames = _first(part, "in_channels", "num_channels") or 3, _first(part, "temporal_patch_size") or 1
    return channels * patch * patch * frames


def _mergers(word: str, part: Mapping[str, object], width: int, text_width: int) -> list[Matrix]:
    merge = _first(part, "spatial_merge_size") or 1
    kernel = part.get("merge_kernel_size")
    if isinstance(kernel, list | tuple) and kernel and isinstance(kernel[0], int):
        merge = kernel[0]
    outer = _first(part, "out_hidden_size") or text_width
    wide = width * merge * merge
    deep = part.get("deepstack_visual_indexes")
    count = 1 + (len(deep) if isinstance(deep, list | tuple) else 0)
    return [Matrix(f"{word}.merger", wide + outer, wide, Cut.TOWER, count=count)]


def _first(part: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = part.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
