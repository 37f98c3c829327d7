"""Options that decide which CUDA graphs are captured.

Source: vLLM 0.32.0, `config/compilation.py`, `engine/arg_utils.py`.
"""

import json
from collections.abc import Mapping


def sizes_of(text: str | None) -> tuple[int, ...]:
    """`--cudagraph-capture-sizes`, as written."""
    words = (text or "").replace(",", " ").split()
    return tuple(int(word) for word in words if word.isdecimal())


def is_eager(enforce_eager: str | None, compilation: str | None) -> bool:
    """Whether no graph is captured: `--enforce-eager`, or `cudagraph_mode` NONE in `--compilation-config`."""
    if enforce_eager == "true":
        return True
    try:
        parsed = json.loads(compilation or "{}")
    except ValueError:
        return False
    mode = parsed.get("cudagraph_mode") if isinstance(parsed, Mapping) else None
    return isinstance(mode, str) and mode.upper() == "NONE"
