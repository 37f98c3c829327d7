"""How wide the values are that a model writes into its cache: the type its weights were loaded in.

Source: mlx-lm 0.32.2 `utils.py` (load_model keeps the file's types; quantized layers compute in their scales' type).
"""

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MalformedModelError

_WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "bfloat16": 2, "float16": 2, "float32": 4}
_EMBEDDINGS = ("embed_tokens.scales", "embed_tokens.weight", "wte.weight", "embeddings.weight")


def activation_bytes(checkpoint: Checkpoint) -> int:
    """2 or 4. The embedding's type decides where tensors are known, else `config.json`, else 16 bits.

    Raises:
        MalformedModelError: `config.json` names a type that is neither.
    """
    named = {tensor.name: tensor.dtype for tensor in checkpoint.tensors}
    for ending in _EMBEDDINGS:
        for name, dtype in named.items():
            if name.endswith(ending) and dtype in _WIDTHS:
                return _WIDTHS[dtype]
    levels = [checkpoint.config]
    inner = checkpoint.config.get("text_config")
    if isinstance(inner, dict):
        levels.insert(0, inner)
    for level in levels:
        stated = level.get("torch_dtype") or level.get("dtype")
        if stated is None:
            continue
        width = _WIDTHS.get(stated) if isinstance(stated, str) else None
        if width is None:
            raise MalformedModelError(f"config.json says {stated!r} for the type of the weights")
        return width
    return 2
