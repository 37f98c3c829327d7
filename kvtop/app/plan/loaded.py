"""A command line opened for questions: its effective options, its model's files and the machine, read once."""

from dataclasses import dataclass

from kvtop.app.plan.request import Machine, Question
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.registry import plan_launch
from kvtop.planning.what_if import Ground


@dataclass(frozen=True, slots=True)
class Opened:
    """What frontiers, recommendations and rules ask of. `trained_tokens` None: the model does not say."""

    launch: LaunchOptions
    ground: Ground
    trained_tokens: int | None
    at_tokens: int | None = None

    @property
    def base(self) -> WhatIf:
        """Nothing changed yet."""
        return WhatIf(self.launch, at_tokens=self.at_tokens)

    def plan(self) -> MemoryPlan | Refusal:
        """The plan as typed. Raises NoExactRuleError."""
        ground = self.ground
        return plan_launch(self.launch, ground.model, ground.devices, draft=ground.draft, at_tokens=self.at_tokens)


def open_command(question: Question, machine: Machine) -> Opened | Refusal:
    """Read everything the command names. A refusal of the options themselves comes before any file is read.

    Raises as `app.plan.answer`.
    """
    engine = question.command.engine
    rooms = machine.room_bytes()
    if engine == "llama.cpp":
        from kvtop.app.plan.llamacpp import open_llamacpp  # noqa: PLC0415  one engine's rules at a time
        from kvtop.planning.llamacpp.memory.auxiliary_models import rooms_left  # noqa: PLC0415  likewise

        read = open_llamacpp(question)
        if isinstance(read, Refusal):
            return read
        others = read.beside(machine.devices)
        if isinstance(others, Refusal):
            return others
        ground = Ground(read.model, machine.devices, rooms_left(rooms, others), {}, read.draft)
        return Opened(read.options, ground, read.model.hparams.n_ctx_train)
    from kvtop.app.plan.checkpoints import open_mlx, open_vllm  # noqa: PLC0415  one engine's rules at a time

    found = open_vllm(question) if engine == "vllm" else open_mlx(question)
    if isinstance(found, Refusal):
        return found
    launch, checkpoint = found
    trained = checkpoint.config.get("max_position_embeddings")
    trained_tokens = trained if isinstance(trained, int) else None
    if engine == "vllm":
        return Opened(launch, Ground(checkpoint, machine.devices, rooms, {}), trained_tokens)
    shared = sum(device.total_bytes or 0 for device in machine.devices) or machine.host_bytes
    at_tokens = question.at_tokens or trained_tokens
    return Opened(launch, Ground(checkpoint, (), {"host": shared}, {}), trained_tokens, at_tokens)
