"""What a rule looks at: one server, or one command that is not started yet, as one frozen value.

Both come here in the same shape, so that a rule cannot tell them apart unless it asks for what only a running server
has (`observed`).
"""

from dataclasses import dataclass, replace

from kvtop.domain.headroom import Disagreement
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.cache_speed import backend_of, build_number
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model.prepared import PreparedModel, overridden_model
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.rules.architectures import NO_CACHE, RECURRENT
from kvtop.planning.registry import plan_launch


@dataclass(frozen=True, slots=True)
class Observed:
    """What a running server does. None is unknown, as everywhere.

    `listeners` are the addresses it is bound to. `memory_held_bytes` is what drivers measured. `is_preempting`:
    requests were thrown out of the pool since the last tick. `idle_seconds`: since a token was last read or written.
    """

    used_ratio: float | None = None
    filling: str = ""
    seconds_to_full: float | None = None
    waiting_for_memory: float | None = None
    requests_running: float | None = None
    is_preempting: bool | None = None
    preemptions_total: float | None = None
    longest_sequence_tokens: int | None = None
    sequence_limit_tokens: int | None = None
    slot_context_tokens: int | None = None
    idle_seconds: float | None = None
    memory_held_bytes: int | None = None
    has_metrics: bool | None = None
    has_slots: bool | None = None
    listeners: tuple[str, ...] | None = None
    wants_key: bool | None = None
    """Whether its endpoint refuses requests without a key; False: it answered one that a key would guard."""
    has_own_network: bool = False
    """It lives in a network namespace of its own: a container whose ports are published, or not."""
    disagreements: tuple[Disagreement, ...] | None = None
    device_free_bytes: int | None = None
    device_total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One server or command line.

    `launch` None: nobody knows how it was started. `complaints` are the engine's words for why this command line
    would not start; `launch.errors` is empty, so that the other rules still see what was meant. `model`, `draft` and
    `plan` are None where `model_note` and `plan_note` say why; `refusal` is the engine's refusal of options and model
    together. `are_devices_known` False: no accelerator was found or named, and the command may be meant for another
    machine. `environ` holds only the variables that rules read, secrets masked.
    """

    name: str
    engine: str
    launch: LaunchOptions | None
    effective: LaunchOptions | None = None
    """What a running server has made of its launch (a context that was fitted), for what-ifs; None: the launch."""
    stated: tuple[LaunchOption, ...] = ()
    """What the endpoint says of the options where `launch` is None; for the rules that this is enough for."""
    complaints: tuple[str, ...] = ()
    settings: LlamaSettings | None = None
    model: PreparedModel | Checkpoint | None = None
    model_name: str = ""
    model_note: str = ""
    header: GgufHeader | None = None
    draft: PreparedModel | None = None
    plan: MemoryPlan | None = None
    plan_note: str = ""
    refusal: str = ""
    devices: tuple[PlanDevice, ...] = ()
    are_devices_known: bool = True
    host_total_bytes: int | None = None
    environ: tuple[tuple[str, str], ...] = ()
    typed_context: str = ""
    """`-c` as it was typed, for a command that is not started."""
    published: tuple[str, ...] | None = None
    """Ports that a container publishes, as typed; None without a container, or on the host's network."""
    has_unread_variables: bool = False
    """Some come from a file that a container is given."""
    version: str | None = None
    observed: Observed | None = None

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
        return hparams is None or hparams.arch not in RECURRENT | NO_CACHE

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The model directory of vLLM and MLX."""
        return self.model if isinstance(self.model, Checkpoint) else None

    @property
    def backend(self) -> str | None:
        """What runs the model: "cuda", "rocm", "metal", "vulkan" or "cpu"; None where nobody knows."""
        if self.launch is None:
            return None
        return backend_of(self.launch, self.devices, are_known=self.are_devices_known)

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
        """A variable of the environment that rules read."""
        return dict(self.environ).get(name)

    def said(self, *names: str) -> str:
        """The options as they were given, for evidence: "-ctv q8_0", "LLAMA_ARG_CTX_SIZE=4096"."""
        return ", ".join(_spelled(option) for option in map(self.option, names) if option is not None)

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
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        kept = [option for option in launch.options if option.name not in named]
        added = [LaunchOption(name, value, Origin.ASSUMED) for name, value in named.items() if value is not None]
        changed = replace(launch, options=(*kept, *added))
        try:
            return plan_launch(changed, self.model, self.devices, draft=self.draft)
        except NoExactRuleError:
            return None


def _spelled(option: LaunchOption) -> str:
    if option.origin is Origin.ARGV:
        name = option.detail or f"--{option.name}"
        is_negative = option.value == "false" and name.lstrip("-").startswith("n")
        return name if option.value == "true" or is_negative else f"{name} {option.value}"
    if option.origin is Origin.ENVIRONMENT:
        return f"{option.detail}={option.value}"
    return f"{option.name} = {option.value} ({option.detail or option.origin.value})"
