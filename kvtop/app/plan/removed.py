"""What is said of options that the engine's newer builds no longer take."""

from kvtop.domain.launch import LaunchOptions
from kvtop.planning.llamacpp.options.removed_options import removed_words
from kvtop.planning.versions import version_numbers


def removed_refusal(options: LaunchOptions) -> str:
    """The engine's complaint of the first of them, where its build is known."""
    if not options.removed or version_numbers(options.engine_version) is None:
        return ""
    return f"llama.cpp would refuse to start: error: invalid argument: {options.removed[0].typed}"


def removed_notes(options: LaunchOptions) -> list[str]:
    """Options of older builds, and what the command would have to say."""
    found = []
    for it in options.removed:
        now = f"type {' '.join(it.now)}" if it.now else "remove it"
        found.append(f"{it.typed}: {removed_words(it)}, and a build without it refuses to start; {now}")
    return found
