"""Counts mlx-lm's own cache objects. Run by the engine's interpreter, which has no kvtop: JSON in, JSON out.

A sequence is passed through the model in steps, as `mlx_lm.generate` does, but nothing is evaluated: MLX is lazy, and
the sizes of the arrays are known from the graph.
"""

import json
import sys
from functools import lru_cache
from typing import Any

import mlx.core as mx
from mlx_lm.generate import maybe_quantize_kv_cache
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes


def answer(config: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Bytes after a prompt of `ctx` tokens and the most during it, or the error of the model class."""
    found: dict[str, Any] = {"expected_bytes": None, "peak_during_prefill_bytes": 0}
    try:
        model = _model(json.dumps(config), row["dtype"])
        cache = make_prompt_cache(model)
        rest = row["ctx"] - 1
        while rest > 0:
            step = min(row["prefill_step_size"], rest)
            _pass(model, cache, step, row, found)
            rest -= step
        _pass(model, cache, 1, row, found)
        found["expected_bytes"] = _held(cache)
    except Exception as error:  # noqa: BLE001  whatever the engine raises is its answer
        found["error"] = f"{type(error).__name__}: {error}"
    return found


@lru_cache(maxsize=1)
def _model(config: str, dtype: str) -> Any:  # noqa: ANN401
    values = json.loads(config)
    model_class, arguments_class = _get_classes(config=values)
    model = model_class(arguments_class.from_dict(values))
    model.set_dtype(getattr(mx, dtype))
    return model


def _pass(model: Any, cache: list[Any], tokens: int, row: dict[str, Any], found: dict[str, Any]) -> None:  # noqa: ANN401
    model(mx.zeros((1, tokens), dtype=mx.uint32), cache=cache)
    found["peak_during_prefill_bytes"] = max(found["peak_during_prefill_bytes"], _held(cache))
    maybe_quantize_kv_cache(cache, row["quantized_kv_start"] or 0, row["group_size"], row["kv_bits"])


def _held(cache: list[Any]) -> int:
    return sum(int(one.nbytes) for one in cache)


def main() -> None:
    """Answer all rows of {"configs": …, "rows": …}, in their order."""
    asked = json.load(sys.stdin)
    json.dump([answer(asked["configs"][row["id"]], row) for row in asked["rows"]], sys.stdout)


if __name__ == "__main__":
    main()
