"""What a rule looks at: one server, or one command that is not started yet, as one frozen value.

Both come here in the same shape (`LintTarget.from_server`, `LintTarget.from_command`), so that a rule cannot tell them
apart unless it asks for what only a running server has (`observed`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.surroundings import ModelFiles, Surroundings
from kvtop.analysis.planned.live_plan import running_launch
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.cache_speed import build_number, running_api
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, overridden_model, prepare
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.protocol.lint_traits import LintTraits
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.registry import lint_traits_of, plan_launch


@dataclass(frozen=True, slots=True)
class LintTarget:
    """One server or command line.

    `launch` None: its launch is unknown. `complaints` are the engine's words for why this command line would not
    start; `launch.errors` is empty, so that the other rules still see what was meant. `model`, `draft` and `plan` are
    None where `model_note` and `plan_note` say why; `refusal` is the engine's refusal of options and model together.
    """

    name: str
    engine: str
    launch: LaunchOptions | None
    where: Surroundings
    effective: LaunchOptions | None = None
    measured: Measured = NOTHING_MEASURED
    """What the plan of a running server is made from: its options, None for `launch`, and what it found out itself."""
    stated: tuple[LaunchOption, ...] = ()
    """What the endpoint says of the options where `launch` is None; for the rules that this is enough for."""
    complaints: tuple[str, ...] = ()
    settings: LlamaSettings | None = None
    model: PreparedModel | Checkpoint | None = None
    model_name: str = ""
    model_note: str = ""
    header: GgufHeader | None = None
    draft: PreparedModel | None = None
    draft_note: str = ""
    plan: MemoryPlan | None = None
    plan_note: str = ""
    refusal: str = ""
    typed_context: str = ""
    """`-c` as it was typed, for a command that is not started."""
    version: str | None = None
    observed: Observed | None = None

    @classmethod
    def from_command(
        cls,
        name: str,
        launch: LaunchOptions,
        files: ModelFiles,
        where: Surroundings,
        *,
        typed_context: str = "",
        version: str | None = None,
        observed: Observed | None = None,
    ) -> "LintTarget":
        """A command line that is not started: `launch.errors` are its complaints. Planned here. Never raises."""
        note = files.note or "the model file is not known"
        target = cls(
            name=name,
            engine=launch.engine,
            launch=replace(launch, errors=()),
            where=where,
            complaints=launch.errors,
            model_name=files.name,
            model_note=note,
            header=files.header,
            draft_note=files.draft_note,
            plan_note=note,
            typed_context=typed_context,
            version=version,
            observed=observed,
        )
        try:
            model = prepare(files.model) if isinstance(files.model, GgufHeader) else files.model
            draft = prepare(files.draft) if isinstance(files.draft, GgufHeader) else files.draft
        except NoExactRuleError as error:
            note = f"kvtop has no rule for this model: {error}"
            return settled(replace(target, model_note=note, plan_note=note))
        return settled(replace(target, model=model, draft=draft))

    @classmethod
    def from_server(
        cls,
        reading: ServerReading,
        files: ModelFiles,
        where: Surroundings,
        plan: MemoryPlan | None,
        plan_note: str,
        observed: Observed,
    ) -> "LintTarget":
        """A running server, with the plan that was made of it. Whatever the rules would complain of, its build did not.

        Of a remote one metrics tell enough to plan with, and never the whole command line.
        """
        launch = None if reading.launch is None else replace(reading.launch, errors=())
        target = cls(
            name=reading.id,
            engine=reading.engine,
            launch=None,
            where=where,
            stated=reading.stated,
            model=None if isinstance(files.model, GgufHeader) else files.model,
            model_name=files.name,
            model_note=files.note or plan_note,
            header=files.header,
            draft=files.draft if isinstance(files.draft, PreparedModel) else None,
            plan=plan,
            plan_note=plan_note,
            version=reading.version,
            observed=observed,
        )
        settings, unreadable = (None, "") if launch is None else _settings(launch)
        if launch is None or reading.is_remote or unreadable:  # unreadable: out of a recording only
            return replace(target, effective=launch)
        effective, measured = running_launch(reading)
        return replace(target, launch=launch, effective=effective, measured=measured, settings=settings)

    @property
    def devices(self) -> tuple[PlanDevice, ...]:
        """The accelerators that it may use."""
        return self.where.devices

    @property
    def are_devices_known(self) -> bool:
        """Whether `devices` is the whole truth."""
        return self.where.are_devices_known

    @property
    def host_total_bytes(self) -> int | None:
        """Host memory."""
        return self.where.host_total_bytes

    @property
    def traits(self) -> LintTraits:
        """What is true of its engine."""
        return lint_traits_of(self.engine)

    @property
    def llama(self) -> LlamaSettings:
        """The settings of a llama-server; only for rules of llama.cpp, which are not asked without them."""
        if self.settings is None:
            raise AssertionError(f"{self.name}: a rule of llama.cpp was asked without settings")
        return self.settings

    @property
    def hparams(self) -> HParams | None:
        """The hyperparameters of a GGUF model, where kvtop has rules for it."""
        return None if self.prepared is None else self.prepared.hparams

    @property
    def prepared(self) -> PreparedModel | None:
        """A GGUF model as the engine reads it, `--override-kv` applied."""
        if not isinstance(self.model, PreparedModel):
            return None
        try:
            return overridden_model(self.model, self.value("override-kv"))
        except (ValueError, NoExactRuleError):
            return self.model

    @property
    def caches_tokens(self) -> bool:
        """Whether a GGUF model keeps keys and values: models of state alone and encoders do not. True where unknown."""
        hparams = self.hparams
        return hparams is None or hparams.traits.memory not in {"none", "recurrent"}

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The model directory of vLLM and MLX."""
        return self.model if isinstance(self.model, Checkpoint) else None

    @property
    def compute_api(self) -> str | None:
        """What runs the model, or "cpu"; None where that is not known."""
        if self.launch is None:
            return None
        return running_api(self.launch, self.devices, are_known=self.are_devices_known)

    @property
    def wants_accelerator(self) -> bool:
        """Whether the command asks for layers on a device by name."""
        layers = self.value("gpu-layers")
        return layers is not None and layers != "0"

    @property
    def build(self) -> int | None:
        """The number of a llama.cpp build ("b11434" -> 11434), or None."""
        return build_number(self.version)

    def option(self, name: str) -> LaunchOption | None:
        """The effective option, or None if nobody set it."""
        return None if self.launch is None else self.launch.get(name)

    def value(self, name: str) -> str | None:
        """Its value."""
        found = self.option(name)
        return None if found is None else found.value

    def variable(self, name: str) -> str | None:
        """A variable of its environment; of a secret only that it is set."""
        return dict(self.where.environ or ()).get(name)

    def said(self, *names: str) -> str:
        """The options as they were given, for evidence: "-ctv q8_0", "LLAMA_ARG_CTX_SIZE=4096"."""
        return ", ".join(_spelled(option) for option in map(self.option, names) if option is not None)

    def with_changes(self, changes: Mapping[str, str | None], cards: int | None = None) -> "LintTarget | None":
        """The same as a command that is not started, with these options and so many cards; None without its options."""
        if self.launch is None:
            return None
        where = self.where
        if cards is not None and where.devices:
            devices = tuple(replace(where.devices[0], name=f"gpu{number}") for number in range(cards))
            where = replace(where, devices=devices)
        typed = changes.get("ctx-size") or ("" if "ctx-size" in changes else self.typed_context)
        launch = changed_launch(self.launch, changes)
        bare = replace(self, launch=launch, where=where, effective=None, measured=NOTHING_MEASURED, plan=None)
        return settled(replace(bare, observed=None, typed_context=typed, refusal="", stated=()))

    def plan_with(self, **changes: str | None) -> MemoryPlan | None:
        """The plan with options replaced (names with underscores for dashes); None takes an option away.

        None where there is no plan to compare with, the engine would refuse or kvtop has no rule.
        """
        answer = None if self.plan is None else self.answer_with(**changes)
        return answer if isinstance(answer, MemoryPlan) else None

    def answer_with(self, **changes: str | None) -> MemoryPlan | Refusal | None:
        """The same with the engine's refusal as an answer; None only where kvtop cannot tell."""
        launch = self.effective or self.launch
        if launch is None or self.model is None:
            return None
        changed = changed_launch(launch, {name.replace("_", "-"): value for name, value in changes.items()})
        try:
            return plan_launch(changed, self.model, self.devices, draft=self.draft, measured=self.measured)
        except NoExactRuleError:
            return None


def changed_launch(launch: LaunchOptions, changes: Mapping[str, str | None]) -> LaunchOptions:
    """The options with these values; None takes an option away."""
    kept = (option for option in launch.options if option.name not in changes)
    added = (LaunchOption(name, value, Origin.ASSUMED) for name, value in changes.items() if value is not None)
    return replace(launch, options=(*kept, *added))


def _spelled(option: LaunchOption) -> str:
    if option.origin is Origin.ARGV:
        name = option.detail or f"--{option.name}"
        is_negative = option.value == "false" and name.lstrip("-").startswith("n")
        return name if option.value == "true" or is_negative else f"{name} {option.value}"
    if option.origin is Origin.ENVIRONMENT:
        return f"{option.detail}={option.value}"
    return f"{option.name} = {option.value} ({option.detail or option.origin.value})"


def _settings(launch: LaunchOptions) -> tuple[LlamaSettings | None, str]:
    """The typed settings, where the engine's rules have them, or its refusal of them."""
    settings = lint_traits_of(launch.engine).settings(launch)
    if isinstance(settings, Refusal):
        return None, settings.message
    return settings if isinstance(settings, LlamaSettings) else None, ""


def settled(target: LintTarget) -> LintTarget:
    """With what follows from launch and model: typed settings, the engine's refusal, and the plan."""
    launch = target.launch
    if launch is None:
        return target
    settings, refusal = _settings(launch)
    if refusal:
        return replace(target, settings=None, refusal=refusal, plan=None, plan_note=f"the engine refuses: {refusal}")
    target = replace(target, settings=settings, refusal=target.traits.options_refusal(launch))
    if target.model is None:
        return target
    if target.traits.needs_device and not target.devices and not target.are_devices_known:
        return replace(target, plan=None, plan_note="the GPU it will run on is unknown: pass --gpu")
    try:
        answer = plan_launch(launch, target.model, target.devices, draft=target.draft)
    except NoExactRuleError as error:
        return replace(target, plan=None, plan_note=target.draft_note or str(error))
    if isinstance(answer, MemoryPlan):
        return replace(target, plan=answer, plan_note="")
    note = f"the engine refuses: {answer.message}"
    return _as_meant(replace(target, refusal=answer.message, plan=None, plan_note=note))


def _as_meant(refused: LintTarget) -> LintTarget:
    """With the refusal mended the way its own rule advises, so that the other rules still see what was meant."""
    launch = refused.launch
    if launch is None:
        return refused
    for changes in refused.traits.mends(launch):
        meant = changed_launch(launch, changes)
        answer = replace(refused, effective=meant).answer_with()
        if isinstance(answer, MemoryPlan):
            return replace(refused, plan=answer, effective=meant)
    return refused
