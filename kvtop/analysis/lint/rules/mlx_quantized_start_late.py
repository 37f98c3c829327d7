"""Nothing below 5000 tokens is quantized.

Why: `--quantized-kv-start` is 5000 by default: a sequence stays at full precision until it is as long, and at the
crossing both copies exist together. Short chats gain nothing from `--kv-bits` and lose batching.

Source: mlx-lm 0.32.2 server.py and generate.py (`maybe_quantize_kv_cache`); run there.

Cost: what quantization would have saved on shorter sequences.

Fix: `--quantized-kv-start 0` if memory is the reason for `--kv-bits`.

Fires on: `--kv-bits 8` alone. Quiet on: `--kv-bits 8 --quantized-kv-start 0`.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("mlx",)
READS_LAUNCH = True
FIRES = Example("mlx_lm.server --model MODEL --kv-bits 8")
QUIET = Example("mlx_lm.server --model MODEL --kv-bits 8 --quantized-kv-start 0")
DEFAULT_TOKENS = 5000
LATE_TOKENS = 4096


def check(target: LintTarget) -> Outcome:
    """Needs only the options."""
    if target.value("kv-bits") is None:
        return None
    start = int(target.value("quantized-kv-start") or DEFAULT_TOKENS)
    if start < LATE_TOKENS:
        return None
    return Found(
        "info",
        f"sequences below {start} tokens are not quantized at all",
        evidence=target.said("kv-bits", "quantized-kv-start")
        + ("" if target.value("quantized-kv-start") else "; default --quantized-kv-start 5000"),
        cost=f"full precision up to {start} tokens, both copies at the crossing",
        fix=(options(quantized_kv_start="0"),),
        otherwise="a smaller --quantized-kv-start",
    )
