"""A command line opened for questions: its effective options, its model's files and the machine, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kvtop.app.plan.request import Machine, PlanRequest
from kvtop.domain.answers.room import Room
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.device import ProcessMemory
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.registry import plan_launch, traits_of


@dataclass(frozen=True, slots=True)
class LoadedCommand:
    """What frontiers, recommendations and rules ask of. `trained_tokens` None: the model does not say."""

    launch: LaunchOptions
    plan_context: PlanContext
    trained_tokens: int | None
    at_tokens: int | None = None
    pinning_words: tuple[str, ...] = ()
    """What would have to be typed behind the command to load what the engine's own fit chose."""
    holders: Mapping[str, Sequence[ProcessMemory]] = field(default_factory=dict)
    """The processes on each device now."""
    typed: LaunchOptions | None = None
    """The options as typed, where the engine's own fit changes them; None: `launch` is as typed."""

    @property
    def base(self) -> WhatIf:
        """Nothing changed yet."""
        return WhatIf(self.launch, at_tokens=self.at_tokens)

    def plan(self) -> MemoryPlan | Refusal:
        """The plan as typed. Raises NoExactRuleError."""
        here = self.plan_context
        found = plan_launch(self.launch, here.model, here.devices, draft=here.draft, at_tokens=self.at_tokens)
        traits = traits_of(self.launch.engine)
        if isinstance(found, MemoryPlan) or traits is None or not traits.plans_whole_card:
            return found
        from kvtop.app.plan.vllm_room import with_hints  # noqa: PLC0415  one engine's rules at a time

        return with_hints(found, self.launch, here.model, here.devices, self.holders)


def load_command(request: PlanRequest, machine: Machine) -> LoadedCommand | Refusal:
    """Read everything the command names. A refusal of the options themselves comes before any file is read.

    Raises as `app.plan.answer`.
    """
    traits = traits_of(request.command.engine)
    rooms = machine.rooms()
    if traits is not None and traits.model_format == "gguf":
        from kvtop.app.plan.llamacpp import open_llamacpp  # noqa: PLC0415  one engine's rules at a time
        from kvtop.planning.llamacpp.memory.auxiliary_models import rooms_left  # noqa: PLC0415  likewise

        read = open_llamacpp(request)
        if isinstance(read, Refusal):
            return read
        # What is asked of a command is asked of what the engine loads: the placement that `--fit` chose stands.
        fitted = read.loaded(machine)
        if isinstance(fitted, Refusal):
            return fitted
        is_changed = bool(fitted.fit.change)
        others = read.auxiliary_models(machine.devices, fitted.settings)
        if isinstance(others, Refusal):
            return others
        plan_context = PlanContext(read.model, machine.devices_as_seen(), rooms_left(rooms, others), {}, read.draft)
        launch, pinning = (fitted.launch, fitted.fit.flags) if is_changed else (read.options, ())
        return LoadedCommand(
            launch,
            plan_context,
            read.model.hparams.n_ctx_train,
            pinning_words=pinning,
            typed=read.options if is_changed else None,
        )
    from kvtop.app.plan.checkpoints import open_growing, open_pool  # noqa: PLC0415  one engine's rules at a time

    grows = traits is not None and traits.cache_grows
    found = open_growing(request) if grows else open_pool(request)
    if isinstance(found, Refusal):
        return found
    launch, checkpoint = found
    trained = checkpoint.config.get("max_position_embeddings")
    trained_tokens = trained if isinstance(trained, int) else None
    if not grows:
        context = PlanContext(checkpoint, machine.devices, rooms, {})
        return LoadedCommand(launch, context, trained_tokens, holders=machine.holders)
    shared = sum(device.total_bytes or 0 for device in machine.devices) or machine.host_bytes
    at_tokens = request.at_tokens or trained_tokens
    room = None if shared is None else Room(shared, shared)
    return LoadedCommand(launch, PlanContext(checkpoint, (), {"host": room}, {}), trained_tokens, at_tokens)
