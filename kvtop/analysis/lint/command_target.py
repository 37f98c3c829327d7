"""A Subject from launch options, a model and devices: the pure half of reading a command line or a live server."""

from dataclasses import dataclass, replace
from math import prod

from kvtop.analysis.lint.target import Observed, Subject
from kvtop.analysis.lint.vllm_pool import one_card_for_every_rank, whole
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.model.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.parse import settings_of
from kvtop.planning.registry import plan_launch

RANK_OPTIONS = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that was read. `model_note` and `draft_note` say why a model is None."""

    name: str
    engine: str
    launch: LaunchOptions | None
    complaints: tuple[str, ...] = ()
    model: GgufHeader | PreparedModel | Checkpoint | None = None
    model_name: str = ""
    model_note: str = ""
    draft: GgufHeader | PreparedModel | None = None
    draft_note: str = ""
    devices: tuple[PlanDevice, ...] = ()
    are_devices_known: bool = True
    host_total_bytes: int | None = None
    environ: tuple[tuple[str, str], ...] = ()
    typed_context: str = ""
    published: tuple[str, ...] | None = None
    has_unread_variables: bool = False
    version: str | None = None
    observed: Observed | None = None
    at_tokens: int | None = None
    one_card_stands_for_all: bool = False
    """One named card is meant for every rank: `--gpu H100` before eight of them."""


def make_subject(known: Known) -> Subject:
    """Settings, prepared models, and the plan or the reason why there is none. Never raises."""
    launch = None if known.launch is None else replace(known.launch, errors=())
    subject = Subject(
        name=known.name,
        engine=known.engine,
        launch=launch,
        complaints=known.complaints,
        model_name=known.model_name,
        model_note=known.model_note or "the model file is not known",
        plan_note=known.model_note or "the model file is not known",
        devices=known.devices,
        are_devices_known=known.are_devices_known,
        host_total_bytes=known.host_total_bytes,
        environ=known.environ,
        typed_context=known.typed_context,
        published=known.published,
        has_unread_variables=known.has_unread_variables,
        version=known.version,
        observed=known.observed,
    )
    if launch is None:
        return replace(subject, plan_note="the launch options of this server are unknown")
    if known.engine == "vllm" and known.one_card_stands_for_all:
        ranks = prod(whole(subject, name) or 1 for name in RANK_OPTIONS)
        subject = replace(subject, devices=one_card_for_every_rank(known.devices, ranks))
    if known.engine == "llama.cpp":
        settings = settings_of(launch)
        if isinstance(settings, Refusal):
            return replace(subject, refusal=settings.message, plan_note=f"the engine refuses: {settings.message}")
        subject = replace(subject, settings=settings)
    try:
        subject = _with_models(subject, known)
    except NoExactRuleError as error:
        note = f"kvtop has no rule for this model: {error}"
        header = known.model if isinstance(known.model, GgufHeader) else None
        return replace(subject, header=header, model_note=note, plan_note=note)
    return _with_plan(subject, known)


def _with_models(subject: Subject, known: Known) -> Subject:
    model = prepare(known.model) if isinstance(known.model, GgufHeader) else known.model
    draft = prepare(known.draft) if isinstance(known.draft, GgufHeader) else known.draft
    header = model.header if isinstance(model, PreparedModel) else None
    return replace(subject, model=model, draft=draft, header=header)


def _with_plan(subject: Subject, known: Known) -> Subject:
    launch = subject.launch
    if launch is None:
        return subject
    if subject.engine == "vllm":
        from kvtop.planning.vllm.planner import options_refusal  # noqa: PLC0415  one engine's rules at a time

        subject = replace(subject, refusal=options_refusal(launch))
    if subject.model is None:
        return subject
    if subject.engine == "vllm" and not subject.devices and not subject.are_devices_known:
        return replace(subject, plan_note="the GPU it will run on is unknown: say --gpu")
    try:
        answer = plan_launch(launch, subject.model, subject.devices, draft=subject.draft, at_tokens=known.at_tokens)
    except NoExactRuleError as error:
        return replace(subject, plan_note=known.draft_note or str(error))
    if isinstance(answer, Refusal):
        note = f"the engine refuses: {answer.message}"
        return _as_meant(replace(subject, refusal=answer.message, plan_note=note), known.at_tokens)
    return replace(subject, plan=answer, plan_note="")


def _as_meant(refused: Subject, at_tokens: int | None) -> Subject:
    """With the refusal mended the way its own rule advises, so that the other rules still see what was meant."""
    launch = refused.launch
    if launch is None or refused.model is None:
        return refused
    key_type = refused.value("cache-type-k")
    mended: dict[str, tuple[dict[str, str | None], ...]] = {
        "llama.cpp": (
            {"flash-attn": None},
            {"cache-type-v": key_type, "flash-attn": None},
            {"cache-type-k": None, "cache-type-v": None},
        ),
        "vllm": ({"kv-cache-dtype": None},),
    }
    for changes in mended.get(refused.engine, ()):
        kept = tuple(option for option in launch.options if option.name not in changes)
        added = tuple(LaunchOption(name, value, Origin.ASSUMED) for name, value in changes.items() if value is not None)
        meant = replace(launch, options=(*kept, *added))
        try:
            answer = plan_launch(meant, refused.model, refused.devices, draft=refused.draft, at_tokens=at_tokens)
        except NoExactRuleError:
            continue
        if isinstance(answer, MemoryPlan):
            return replace(refused, plan=answer, effective=meant)
    return refused
