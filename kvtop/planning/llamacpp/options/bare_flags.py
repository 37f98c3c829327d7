"""`-fa` without its value: what was meant, so that everything else on the command line can still be read.

Since llama.cpp took `--flash-attn on|off|auto`, a bare `-fa` swallows the next word (common/arg.cpp, b11434).
"""

from collections.abc import Sequence

from kvtop.planning.llamacpp.options.table import BY_SPELLING


def with_values(words: Sequence[str]) -> tuple[str, ...]:
    """The words with "on" put after each `--flash-attn` that stands before another option or at the end."""
    repaired: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        repaired.append(word)
        index += 1
        match = BY_SPELLING.get(word.replace("_", "-") if word.startswith("--") else word)
        if match is None:
            continue
        if match[0].name == "flash-attn" and (index == len(words) or words[index] in BY_SPELLING):
            repaired.append("on")
            continue
        repaired.extend(words[index : index + match[0].values])
        index += match[0].values
    return tuple(repaired)
