"""An FP8 KV cache on a card without FP8: vLLM refuses to start, or saves memory only.

Why: the FlashAttention backend takes FP8 caches on compute capability 9 and 10, the Triton one from 8.9. On Ampere
(A100, RTX 3090) only FlashInfer does, for head sizes 64, 128, 256 and 512 without attention sinks and not for latent
attention: there the memory is saved and nothing is faster. Below 8.0 nothing takes it.

Source: vLLM 0.32.0 `platforms/cuda.py`, `v1/attention/backends/{flash_attn,triton_attn,flashinfer}.py`; issues 26431
and 50882.

Cost: it does not start; or no speed-up.

Fix: `--kv-cache-dtype auto` there; on Ampere `fp8_e5m2` is the type that its kernels are written for.

Fires on: fp8 with gpt-oss on an A100. Quiet on: fp8 on an H100.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import FP8

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --kv-cache-dtype fp8", gpus=("A100",), model="gpt-oss-20b")
QUIET = Example("vllm serve MODEL --kv-cache-dtype fp8", gpus=("H100",), model="gpt-oss-20b")
REFUSALS = ("No valid attention backend", "FP8 KV cache is not supported", "fp8_e5m2 kv-cache is not supported")


def check(target: LintTarget) -> Outcome:
    """Needs the card; the model decides whether it starts."""
    kind = target.value("kv-cache-dtype")
    if kind is None or not (kind in FP8 or kind.startswith("fp8")):
        return None
    if not target.devices:
        return Lacks("the GPU it will run on is unknown: pass --gpu")
    evidence = target.said("kv-cache-dtype")
    capability = target.devices[0].compute_capability
    card = target.devices[0].product or "the card"
    if any(words in target.refusal for words in REFUSALS):
        return Found(
            "error",
            f"vLLM would not start: {target.refusal}",
            f"{evidence}; {card}, compute capability {_text(capability)}",
            "the server does not start",
            (options(kv_cache_dtype="auto"),),
            "--kv-cache-dtype auto, and room for twice the cache",
        )
    if capability is None:
        return Lacks("the compute capability of the GPU is unknown: pass --gpu SIZE,cc=MAJOR.MINOR")
    if capability >= (8, 9) or kind == "fp8_e5m2":
        return None
    evidence = f"{evidence}; {card}, compute capability {_text(capability)}"
    if capability < (8, 0):
        return Found(
            "error",
            "no attention backend of vLLM takes an FP8 cache on this card",
            evidence,
            "the server does not start",
            (options(kv_cache_dtype="auto"),),
            "--kv-cache-dtype auto, and room for twice the cache",
        )
    knows = target.plan is not None
    return Found(
        "warning",
        "this card has no FP8 arithmetic: "
        + ("only FlashInfer takes the cache" if knows else "only FlashInfer takes the cache, and not for every model")
        + ", which saves memory and no time",
        evidence,
        "" if knows else "it may not start: sinks, latent attention and other head sizes have no backend there",
        (options(kv_cache_dtype="auto"), options(" where capacity is what counts", kv_cache_dtype="fp8_e5m2")),
    )


def _text(capability: tuple[int, int] | None) -> str:
    return "unknown" if capability is None else f"{capability[0]}.{capability[1]}"
