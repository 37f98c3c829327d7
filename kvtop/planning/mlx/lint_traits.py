"""mlx_lm.server as lint rules ask for it (mlx-lm 0.32.2). It has no keys and no metrics."""

from kvtop.domain.launch import LaunchOptions
from kvtop.planning.mlx.planner import RULES_VERSION
from kvtop.planning.protocol.lint_traits import CacheProvision, LintTraits

_REMEDIES = (
    ("--quantize-kv-cache", "--kv-bits 8"),
    ("--max-kv-size", "remove it: mlx_lm.server has no such option, only mlx_lm.generate does"),
    ("KeyError: ", "decimal units only: --prompt-cache-bytes 4GB"),
)


def _remedy(launch: LaunchOptions, words: str) -> str:
    """By the words."""
    del launch
    return next((remedy for said, remedy in _REMEDIES if said in words), "")


TRAITS = LintTraits(
    engine="mlx",
    title=RULES_VERSION,
    cache=CacheProvision.GROWING,
    default_host="127.0.0.1",
    key_words="a proxy before it: mlx_lm.server has no keys",
    cache_type_options=("kv-bits",),
    checks_model=False,
    remedy=_remedy,
)
