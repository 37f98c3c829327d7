"""Prefix caching is switched off: shared beginnings are computed again for every request.

Why: it is on by default and free: cached blocks count as free and are given up first. Chats, agents and system prompts
live on it. Benchmarks, and models that read one picture at a time, go without on purpose: so it is an info.

Source: vLLM 0.32.0 `config/cache.py` (enable_prefix_caching), `v1/core/kv_cache_manager.py`.

Cost: prompt tokens computed again.

Fix: leave `--no-enable-prefix-caching` out.

Fires on: `--no-enable-prefix-caching`. Quiet on: the default.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import serves_text
from kvtop.domain.launch import Origin

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --no-enable-prefix-caching")
QUIET = Example("vllm serve MODEL")


def check(target: LintTarget) -> Outcome:
    """Needs only the option; embedding models have no use for it."""
    if target.value("enable-prefix-caching") != "false" or not serves_text(target):
        return None
    option = target.option("enable-prefix-caching")
    by_itself = option is not None and option.origin is Origin.ENDPOINT
    return Found(
        "info",
        "prefix caching is off: the same system prompt is computed again for every request"
        + (" (some models and all embedding ones go without by themselves)" if by_itself else ""),
        evidence=target.said("enable-prefix-caching"),
        cost="prompt tokens computed again",
        fix=(options(", unless no two requests begin alike", enable_prefix_caching=None),),
    )
