"""From a command line to the answer of `kvtop plan`: reads model files and devices, then asks the rules."""

from kvtop.app.plan.request import Question, UsageError, read_machine
from kvtop.domain.answers.plan_answer import PlanAnswer
from kvtop.domain.plan import Refusal

__all__ = ["Question", "UsageError", "answer"]


def answer(question: Question) -> PlanAnswer | Refusal:
    """The plan, or the engine's refusal.

    Raises UsageError for what a person can mend, ModelFileError for a file that cannot be believed, ValueError for a
    bad `--gpu`, NoExactRuleError where there is no exact rule.
    """
    machine = read_machine(question)
    engine = question.command.engine
    # One engine's rules at a time: a plan should be there before a person looks up.
    if engine == "llama.cpp":
        from kvtop.app.plan.llamacpp import answer_llamacpp  # noqa: PLC0415  see above

        return answer_llamacpp(question, machine)
    if question.assume_full_attention or question.verify:
        raise UsageError("--assume and --verify are for llama-server commands only")
    from kvtop.app.plan.checkpoints import answer_mlx, answer_vllm  # noqa: PLC0415  see above

    return answer_vllm(question, machine) if engine == "vllm" else answer_mlx(question, machine)
