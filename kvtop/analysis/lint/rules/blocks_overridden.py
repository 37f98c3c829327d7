"""`--num-gpu-blocks-override` replaces the measured pool.

Why: it is there to test preemption. The pool no longer follows memory: too few blocks waste the card, too many end in
out-of-memory errors.

Source: vLLM 0.32.0 `config/cache.py` ("Used for testing preemption").

Cost: computed where blocks are known: the pool it makes.

Fix: remove it, or state bytes with `--kv-cache-memory-bytes`.

Fires on: `--num-gpu-blocks-override 512`. Quiet on: the same without it.
"""

from kvtop.analysis.lint.amounts import exact
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import whole

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --num-gpu-blocks-override 512 --max-model-len 4096", gpus=("H100",))
QUIET = Example("vllm serve MODEL --max-model-len 4096", gpus=("H100",))


def check(target: LintTarget) -> Outcome:
    """Needs only the option."""
    if target.value("num-gpu-blocks-override") is None:
        return None
    blocks = whole(target, "num-gpu-blocks-override")
    pool = None if target.plan is None else target.plan.vllm
    cost = f"a pool of {exact(blocks * pool.bytes_per_block)} per rank" if pool is not None and blocks else ""
    return Found(
        "warning",
        "the number of blocks is fixed by hand, so the pool follows no memory: the option is for tests of preemption",
        evidence=target.said("num-gpu-blocks-override"),
        cost=cost,
        fix=(options(num_gpu_blocks_override=None), "the pool in bytes with --kv-cache-memory-bytes"),
    )
