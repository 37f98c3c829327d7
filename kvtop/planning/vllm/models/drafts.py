"""What a draft adds to a model: layers of its own in the pool, and their weights.

Source: vLLM 0.32.0, `config/speculative.py` (`hf_config_override`, n_predict), `v1/worker/gpu/spec_decode`. The draft's
attention layers join the target's before layers are grouped; embedding and head are the target's.
"""

import re
from dataclasses import dataclass, replace

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.models.cached_layers import CachedLayer, layer_count
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.latent import indexer, latent
from kvtop.planning.vllm.options.speculation import DSPARK, MTP, Speculation
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import SpecKind

_ONE_MODULE = ("mimo_v2", "mimo_v2_flash", "mimo_v2_pro", "gemma4", "gemma4_text")
"""Classes of which vLLM runs the first module, however many the checkpoint has."""
_UNSTATED = ("qwen3_next", "ernie4_5_moe", "exaone_moe", "step3p5", "longcat_flash", "dots3_note")
"""Model types with one module where config.json does not say how many."""
_HAVE_MODULES = re.compile(
    r"deepseek_v|glm_moe_dsa|pangu_ultra_moe|kimi_k3|mimo|glm4_moe|glm_ocr|ernie4_5_moe|nemotron_h|qwen3_next|qwen3_5"
    r"|qwen4|bailing|exaone|interns2|longcat_flash|step3p|hy_v|inkling|gemma4|minimax_m3|glm5|dots3|deepseek_ref"
)
"""Model types whose layers of next-token prediction vLLM has a class for (`SpeculativeConfig.hf_config_override`)."""
_WINDOWED_MODULES = ("mimo_v2", "dots3", "deepseek_v4", "deepseek_ref")
"""Classes whose modules attend within the target's window."""
_USUAL_LAYERS = {"eagle": 1, "eagle3": 1, "peagle": 1, "medusa": 0, "mlp_speculator": 0, "dflash": 5, "dspark": 5}
"""Attention layers of a draft whose configuration is not here: published heads of these kinds have as many."""
_LISTED = ("mtp_num_hidden_layers", "num_nextn_predict_layers", "num_mtp_modules", "mtp_num_layers")


@dataclass(frozen=True, slots=True)
class Draft:
    """`layers` join the pool, `modules` of them have weights; `doubt` says why they are assumed, "" where not."""

    layers: tuple[CachedLayer, ...] = ()
    whole_layers: tuple[CachedLayer, ...] = ()
    """As `layers`, on one rank that holds all heads."""
    modules: int = 0
    doubt: str = ""
    own: "OwnDraft | None" = None


NO_DRAFT = Draft()


@dataclass(frozen=True, slots=True)
class OwnDraft:
    """A draft with a configuration of its own, and what its class builds on one rank and on one with all heads."""

    config: ConfigView
    layers: tuple[CachedLayer, ...]
    whole_layers: tuple[CachedLayer, ...]

    def after(self, count: int) -> Draft:
        """Behind the target's `count` layers."""
        own, whole = (
            tuple(replace(layer, index=count + layer.index) for layer in built)
            for built in (self.layers, self.whole_layers)
        )
        return Draft(own, whole, layer_count(self.config), own=self)


def draft_of(
    speculation: Speculation,
    view: ConfigView,
    layers: tuple[CachedLayer, ...],
    whole_layers: tuple[CachedLayer, ...],
    own: OwnDraft | None = None,
) -> Draft:
    """The draft of this launch; `layers` are the target's on one rank, `whole_layers` on one that holds all heads.

    `own`: the draft's configuration and the layers that its class builds, where it was read.

    Raises:
        RefusedError: the model has no such modules, or they do not divide the tokens, in vLLM's words.
        NoExactRuleError: nothing is known of the draft.
    """
    if not speculation.has_model:
        return NO_DRAFT
    count = layer_count(view)
    if speculation.method == MTP:
        modules = _modules(view)
        if speculation.draft_tokens > modules and speculation.draft_tokens % modules:
            raise StartRefusedError(
                f"num_speculative_tokens:{speculation.draft_tokens} must be divisible by n_predict={modules}"
            )
        return Draft(_built(view, modules, layers), _built(view, modules, whole_layers), modules)
    if own is not None:
        return own.after(count)
    if speculation.method == DSPARK and not speculation.model:
        # Its parallel width does not depend on how many modules there are.
        modules = _modules(view)
        return Draft(_built(view, modules, layers), _built(view, modules, whole_layers), modules)
    if speculation.method not in _USUAL_LAYERS:
        raise NoExactRuleError(
            f"speculative decoding by {speculation.method}: the configuration of the draft {speculation.model} is not "
            "here, and its layers join the pool"
        )
    usual = _USUAL_LAYERS[speculation.method]
    doubt = f"the draft's configuration is not here: taken as {usual} layers like the target's" if usual else ""
    return Draft(_assumed(count, usual, layers), _assumed(count, usual, whole_layers), usual, doubt)


def _assumed(count: int, number: int, layers: tuple[CachedLayer, ...]) -> tuple[CachedLayer, ...]:
    return tuple(cache for at in range(number) for cache in _like(count + at, layers))


def _built(view: ConfigView, modules: int, layers: tuple[CachedLayer, ...]) -> tuple[CachedLayer, ...]:
    count = layer_count(view)
    return tuple(cache for at in range(modules) for cache in _module(view, count + at, layers))


def _modules(view: ConfigView) -> int:
    if view.word("model_type") in _ONE_MODULE:
        return 1
    stated = view.whole(*_LISTED)
    nested = view.part("mtp_config").get("num_nextn_predict_layers")
    if stated is None and isinstance(nested, int):
        stated = nested
    if stated is None:
        stated = 1 if view.word("model_type") in _UNSTATED else 0
    if not stated or not _HAVE_MODULES.match(view.word("model_type") or ""):
        raise StartRefusedError("Unsupported speculative method: 'mtp'")
    return stated


def _module(view: ConfigView, index: int, layers: tuple[CachedLayer, ...]) -> tuple[CachedLayer, ...]:
    """One module of next-token prediction: a decoder layer of the target's kind that sees everything."""
    if any(layer.kind is SpecKind.MLA and not layer.is_indexer and layer.fixed is None for layer in layers):
        sparse = view.whole("index_topk") is not None
        found = latent(index, view, sparse=sparse)
        return (indexer(index, view), found) if sparse else (found,)
    windowed = [layer for layer in layers if layer.kind is SpecKind.SLIDING and layer.role_is_plain_window]
    if windowed and (view.word("model_type") or "").startswith(_WINDOWED_MODULES):
        return (replace(windowed[-1], index=index),)
    return _like(index, layers)


def _like(index: int, layers: tuple[CachedLayer, ...]) -> tuple[CachedLayer, ...]:
    """A layer like the target's last one that sees everything, or like its last that attends at all."""
    attending = [layer for layer in layers if layer.kind is not SpecKind.MAMBA and not layer.is_indexer]
    full = [layer for layer in attending if layer.kind.is_full]
    if not attending:
        raise NoExactRuleError("a draft of a model without attention: kvtop has no rule for it")
    return (replace((full or attending)[-1], index=index),)
