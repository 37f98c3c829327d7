"""From a command line to the answer of `kvtop plan`: reads model files and devices, then asks the rules."""

from kvtop.app.plan.request import PlanRequest, UsageError, read_machine
from kvtop.domain.answers.plan_answer import PlanAnswer
from kvtop.domain.plan import Refusal
from kvtop.planning.registry import traits_of

__all__ = ["PlanRequest", "UsageError", "answer"]


def answer(request: PlanRequest) -> PlanAnswer | Refusal:
    """The plan, or the engine's refusal.

    Raises UsageError for what a person can mend, ModelFileError for a file that cannot be believed, ValueError for a
    bad `--gpu`, NoExactRuleError where there is no exact rule.
    """
    machine = read_machine(request)
    traits = traits_of(request.command.engine)
    # One engine's rules at a time: a plan should be there before a person looks up.
    if traits is not None and traits.model_format == "gguf":
        from kvtop.app.plan.llamacpp import answer_llamacpp  # noqa: PLC0415  see above

        return answer_llamacpp(request, machine)
    if request.assume_full_attention or request.verify:
        raise UsageError("--assume and --verify are for llama-server commands only")
    from kvtop.app.plan.checkpoints import answer_growing, answer_pool  # noqa: PLC0415  see above

    grows = traits is not None and traits.cache_grows
    return answer_growing(request, machine) if grows else answer_pool(request, machine)
