"""The weights of a launch: the model's and its draft's, on the ranks of each pipeline stage."""

from contextlib import suppress

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.models.cached_layers import layer_count, partition
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.options.speculation import MTP
from kvtop.planning.vllm.run import Run
from kvtop.planning.vllm.shapes.decoder import draft_model, draft_modules
from kvtop.planning.vllm.shapes.matrix import Matrix
from kvtop.planning.vllm.shapes.placement import Parallel
from kvtop.planning.vllm.shapes.stage_shapes import ShapeTerms
from kvtop.planning.vllm.weight_changes import adjusted
from kvtop.planning.vllm.weights import StageWeights, stage_weights


def rank_weights(checkpoint: Checkpoint, run: Run, settings: ServeSettings) -> StageWeights:
    """What one rank of each stage holds of model and draft, after options that change it."""
    config = run.config
    bounds = partition(layer_count(config), settings.pp_size, settings.stage_layers)
    parallel = Parallel(
        settings.tp_size,
        settings.dp_size,
        experts=settings.expert_parallel,
        whole_towers=settings.whole_encoders,
        has_triton_experts=config.word("model_type") == "gpt_oss" and run.terms.card.family == 9,
    )
    terms = ShapeTerms(
        run.terms.shape.model_dtype,
        parallel,
        bounds,
        settings.model or checkpoint.path,
        settings.quantization,
        with_encoders=not settings.language_model_only,
        stored_bytes=checkpoint.tensor_bytes,
        loads_draft=settings.speculation.method == MTP,
    )
    extra = _draft_matrices(run, settings)
    weights = stage_weights(checkpoint, config, run.whole_layers, terms, extra)
    return adjusted(weights, settings.weight_changes, bool(checkpoint.tensors))


def _draft_matrices(run: Run, settings: ServeSettings) -> tuple[Matrix, ...]:
    """What a draft adds to the weights, empty where its configuration lacks a size."""
    draft, config = run.draft, run.config
    with suppress(NoExactRuleError):
        if draft.own is None:
            return draft_modules(config, draft.whole_layers, draft.modules)
        shares = settings.speculation.method != "draft_model"
        return draft_model(draft.own.config, draft.own.whole_layers, layer_count(config), shares_embedding=shares)
    return ()
