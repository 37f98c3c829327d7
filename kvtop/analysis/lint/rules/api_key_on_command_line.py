"""A key stands on the command line, where every user of the machine can read it.

Why: process lists show the arguments of all processes, and so do container inspections, unit files and shell histories.

Source: /proc/PID/cmdline is readable by all; llama.cpp b11434 and vLLM 0.32.0 both take keys otherwise.

Cost: the key is no secret.

Fix: llama.cpp: `--api-key-file FILE` or the variable LLAMA_API_KEY; vLLM: VLLM_API_KEY; Hugging Face: HF_TOKEN.

Fires on: `--api-key SECRET`. Quiet on: `--api-key-file`.
"""

from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.launch import Origin

ENGINES: tuple[str, ...] = ()
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL --api-key SECRET")
QUIET = Example("llama-server -m MODEL --api-key-file /run/keys/llama")


def check(target: LintTarget) -> Outcome:
    """Needs only the options; values are never kept."""
    for name, better in target.traits.secret_options.items():
        option = target.option(name)
        if option is not None and option.origin is Origin.ARGV:
            return Found(
                "warning",
                f"{option.detail or '--' + name} is given on the command line, where every user of the machine can "
                "read it",
                evidence=f"{option.detail or '--' + name} ***",
                cost="the key is no secret",
                fix=better,
            )
    return None
