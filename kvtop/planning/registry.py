"""One question for every engine: what do these launch options allocate for this model on these devices?

`kvtop plan`, live servers, what-ifs, rules and comparisons all ask here, so that their numbers cannot differ.
"""

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.guards import refuse_endless
from kvtop.planning.llamacpp.memory.prepared import PreparedModel

PlannableModel = GgufHeader | PreparedModel | Checkpoint
"""A model as a file says it, or as the llama.cpp rules have read it once (`prepare`: for many plans of one model)."""


def plan_launch(
    launch: LaunchOptions,
    model: PlannableModel,
    devices: tuple[PlanDevice, ...],
    *,
    draft: GgufHeader | PreparedModel | None = None,
    at_tokens: int | None = None,
) -> MemoryPlan | Refusal:
    """The plan of `launch.engine` with these options, or its refusal in the engine's words.

    `draft` is llama.cpp's second model. `at_tokens` is the length of a sequence for engines whose cache grows (MLX).

    Raises:
        MalformedModelError: the model file contradicts itself or its own architecture.
        NoExactRuleError: there is no exact rule for this engine, model or option.
    """
    if launch.errors:
        return Refusal(launch.engine, launch.errors[0])
    if launch.engine == "llama.cpp":
        if isinstance(model, Checkpoint):
            raise NoExactRuleError(f"{model.path} is no GGUF file, and llama.cpp loads nothing else")
        return _llamacpp(launch, model, devices, draft)
    if not isinstance(model, Checkpoint):
        raise NoExactRuleError(f"kvtop has no rules for a GGUF model under {launch.engine}")
    refuse_endless(model.config)
    # One engine's rules at a time: a plan should be there before a person looks up.
    if launch.engine == "vllm":
        from kvtop.planning.vllm.planner import plan_options as plan_vllm  # noqa: PLC0415  see above

        return plan_vllm(launch, model, devices)
    if launch.engine == "mlx":
        from kvtop.planning.mlx.planner import plan_options as plan_mlx  # noqa: PLC0415  see above

        return plan_mlx(launch, model, at_tokens)
    raise NoExactRuleError(f"kvtop has no memory rules for {launch.engine}")


def _llamacpp(
    launch: LaunchOptions,
    model: GgufHeader | PreparedModel,
    devices: tuple[PlanDevice, ...],
    draft: GgufHeader | PreparedModel | None,
) -> MemoryPlan | Refusal:
    from kvtop.planning.llamacpp.memory.prepared import overridden_model  # noqa: PLC0415  see above
    from kvtop.planning.llamacpp.options.overrides import overridden_header  # noqa: PLC0415  see above
    from kvtop.planning.llamacpp.options.parse import settings_of  # noqa: PLC0415  see above
    from kvtop.planning.llamacpp.planner import plan as plan_llamacpp  # noqa: PLC0415  see above

    settings = settings_of(launch)
    if isinstance(settings, Refusal):
        return settings
    if draft is None and settings.draft is not None:
        raise NoExactRuleError(
            "a draft model is loaded too, and its file could not be read: without it the total would be wrong"
        )

    def as_read(file: GgufHeader | PreparedModel) -> GgufHeader | PreparedModel:
        text = launch.value("override-kv")
        return overridden_header(file, text) if isinstance(file, GgufHeader) else overridden_model(file, text)

    return plan_llamacpp(as_read(model), settings, devices, None if draft is None else as_read(draft))
