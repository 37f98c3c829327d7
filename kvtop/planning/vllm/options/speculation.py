"""Speculative decoding: which methods kvtop can plan, and what they change.

Drafting from the prompt's own words (n-grams) keeps no cache. It does take asynchronous scheduling away, and every
recurrent state is kept once more for each drafted token. Methods with a model of their own add layers to the pool
(`models/drafts.py`).
Source: vLLM 0.32.0, `config/speculative.py`, `config/vllm.py`, `engine/arg_utils.py` (`create_speculative_config`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.text import plain_number

_OPTION = "speculative-config"
_SHORTHAND = (("spec-method", "method"), ("spec-model", "model"), ("spec-tokens", "num_speculative_tokens"))
_FROM_WORDS = ("ngram", "ngram_gpu", "suffix")
MTP = "mtp"
"""Every family's own layers of next-token prediction, under one name since 0.11."""
DSPARK = "dspark"
"""Drafts several tokens at once, by DeepSeek V4's own module or by a head of its own."""
_MODELS = ("draft_model", "eagle", "eagle3", "peagle", "medusa", "mlp_speculator", "dflash", "dspark", MTP)
_INERT = frozenset(
    {
        *("method", "model", "num_speculative_tokens", "prompt_lookup_max", "prompt_lookup_min", "enforce_eager"),
        *("rejection_sample_method", "quantization", "revision", "max_model_len", "draft_tensor_parallel_size"),
        *(
            "moe_backend",
            "attention_backend",
            "draft_sample_method",
            "parallel_drafting",
            "disable_padded_drafter_batch",
        ),
        *("code_revision", "draft_load_config", "synthetic_acceptance_rate", "use_local_argmax_reduction"),
    }
)
"""What may be said of a method without a model that does not change the pool."""


@dataclass(frozen=True, slots=True)
class Speculation:
    """`draft_tokens` are drafted a step, 0 without speculation; `keeps_async`: with asynchronous scheduling.

    `method` is vLLM's word, "" without speculation; `model` the draft's name, "" for the target's own layers.
    """

    draft_tokens: int = 0
    keeps_async: bool = True
    method: str = ""
    model: str = ""

    @property
    def has_model(self) -> bool:
        """Whether layers beside the target's draft."""
        return self.method in _MODELS


NO_SPECULATION = Speculation()


def draft_name(options: LaunchOptions) -> str:
    """The draft model that a command line names, "" for none or where it says so in words that vLLM refuses."""
    try:
        return speculation_of(options, asked_async=False).model
    except (StartRefusedError, NoExactRuleError):
        return ""


def speculation_of(options: LaunchOptions, *, asked_async: bool) -> Speculation:
    """The speculation of a command line; `asked_async` is an explicit `--async-scheduling`.

    Raises:
        RefusedError: vLLM would not accept it.
        NoExactRuleError: a method that keeps caches of its own.
    """
    stated = _stated(options)
    if not stated:
        return Speculation()
    method, tokens = _method(stated), stated.get("num_speculative_tokens")
    if method not in _FROM_WORDS and method not in _MODELS:
        raise NoExactRuleError(f"speculative decoding by {method}: kvtop has no rule for it")
    if tokens is None and method == MTP:
        tokens = 1
    if tokens is None:
        raise StartRefusedError(
            "num_speculative_tokens must be provided with speculative model unless the draft model config contains an "
            "n_predict parameter."
        )
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise StartRefusedError(f"num_speculative_tokens: Input should be greater than 0, not {tokens!r}")
    _check_lookup(stated)
    if unknown := sorted(set(stated) - _INERT):
        raise NoExactRuleError(f"--{_OPTION} {unknown[0]}: kvtop cannot plan it exactly")
    keeps_async = method not in ("ngram", "suffix", "medusa", "mlp_speculator")
    if asked_async and not keeps_async:
        raise StartRefusedError(
            "Currently, async scheduling is only supported with EAGLE/MTP/Draft Model/NGram GPU/DSpark/DFlash kind of "
            "speculative decoding"
        )
    model = stated.get("model")
    return Speculation(tokens, keeps_async, method, model if isinstance(model, str) and method in _MODELS else "")


def _stated(options: LaunchOptions) -> Mapping[str, object]:
    text = options.value(_OPTION)
    stated: dict[str, object] = {}
    if text is not None:
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise StartRefusedError(f"argument --{_OPTION}/-sc: Value {text} cannot be converted to <function loads>.")
        stated = {str(key).replace("-", "_"): value for key, value in parsed.items()}
    for option, key in _SHORTHAND:
        value = options.value(option)
        if value is None:
            continue
        if key in stated:
            raise StartRefusedError(f"--{option} and --{_OPTION}['{key}'] are mutually exclusive")
        number = plain_number(value) if key == "num_speculative_tokens" else None
        stated[key] = value if number is None else number
    return stated


def _method(stated: Mapping[str, object]) -> str:
    method = stated.get("method")
    if method is None:
        return "ngram" if stated.get("model") in ("ngram", "[ngram]") else _by_model(str(stated.get("model", "")))
    word = "ngram" if method == "[ngram]" else str(method).lower()
    return MTP if word.endswith("_mtp") else word


def _by_model(model: str) -> str:
    """vLLM looks at the draft's configuration; its name says the same of published heads."""
    name = model.lower()
    return next((kind for kind in ("dflash", "dspark", "eagle3", "eagle", "medusa") if kind in name), "draft_model")


def _check_lookup(stated: Mapping[str, object]) -> None:
    least, most = stated.get("prompt_lookup_min"), stated.get("prompt_lookup_max")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        raise StartRefusedError(f"prompt_lookup_min={least} must be <= prompt_lookup_max={most}")
