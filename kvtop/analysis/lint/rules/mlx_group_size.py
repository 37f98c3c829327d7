"""`--kv-group-size` does not divide the head, or is none that MLX knows: requests fail.

Why: each group of 32, 64 or 128 values shares a scale, and heads must be made of whole groups. Phi-3 has heads of 96:
the default of 64 does not divide it, 32 does.

Source: mlx 0.32.4 ops.cpp (quantize), mlx-lm 0.32.2; run there.

Cost: requests are lost once a sequence reaches `--quantized-kv-start`.

Fix: `--kv-group-size 32`.

Fires on: Phi-3 mini with `--kv-bits 8`. Quiet on: the same with `--kv-group-size 32`.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.plan import Refusal
from kvtop.planning.mlx.failures import BITS, GROUP_SIZES

ENGINES: tuple[str, ...] = ("mlx",)
READS_LAUNCH = True
FIRES = Example("mlx_lm.server --model MODEL --kv-bits 8", model="phi-3-mini")
QUIET = Example("mlx_lm.server --model MODEL --kv-bits 8 --kv-group-size 32", model="phi-3-mini")
DEFAULT_SIZE = 64
_WORDS = ("last dimension", "group size", "group_size", "bits")


def check(target: LintTarget) -> Outcome:
    """An unknown size needs nothing; whether it divides the head needs config.json."""
    bits = target.value("kv-bits")
    if bits is None:
        return None
    size = int(target.value("kv-group-size") or DEFAULT_SIZE)
    evidence = target.said("kv-bits", "kv-group-size") + ("" if target.value("kv-group-size") else "; default 64")
    if size not in GROUP_SIZES or int(bits) not in BITS:
        return Found(
            "error",
            f"MLX quantizes in groups of 32, 64 or 128 values with 2, 3, 4, 5, 6 or 8 bits, not {size} with {bits}",
            evidence,
            "requests are lost",
            (options(kv_group_size="64", kv_bits="8"), options(kv_group_size="32", kv_bits="8"), options(kv_bits=None)),
        )
    if target.checkpoint is None:
        return Lacks(f"the length of the model's heads is unknown: {target.model_note}")
    answer = target.answer_with(quantized_kv_start="0")
    if answer is None:
        return Lacks(f"the length of the model's heads is unknown: {target.plan_note}")
    if not isinstance(answer, Refusal) or not any(words in answer.message for words in _WORDS):
        return None
    smaller = target.answer_with(quantized_kv_start="0", kv_group_size="32")
    return Found(
        "error",
        f"groups of {size} do not divide this model's heads, and requests fail: {answer.message}",
        evidence,
        "requests are lost",
        (options(kv_bits=None),) if smaller is None or isinstance(smaller, Refusal) else (options(kv_group_size="32"),),
    )
