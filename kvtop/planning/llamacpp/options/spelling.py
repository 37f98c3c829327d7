"""Options of llama-server as they are typed: its own spellings, not argparse's."""

from collections.abc import Sequence

from kvtop.planning.llamacpp.options.table import BY_SPELLING, CUSTOMARY, OPTIONS


def option_words(changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The changed options alone, in the long spelling: `--flash-attn on`, never the bare flag."""
    words: list[str] = []
    for name, value in changes:
        if value is None:
            continue
        spec = OPTIONS.get(name)
        if spec is not None and spec.values == 0:
            off = next((word for word in reversed(spec.negatives) if word.startswith("--")), None)
            if value == "true":
                words.append(f"--{name}")
            elif off is not None:
                words.append(off)
        else:
            words += [f"--{name}", value]
    return tuple(words)


def customary_words(changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The same as most people type them: `-c` for `--ctx-size`."""
    return tuple(CUSTOMARY.get(word, word) for word in option_words(changes))


def without_options(argv: Sequence[str], names: set[str]) -> list[str]:
    """The command without these options, in whichever spelling they were typed."""
    kept: list[str] = list(argv[:1])
    index = 1
    while index < len(argv):
        typed = argv[index]
        found = BY_SPELLING.get(typed.replace("_", "-") if typed.startswith("--") else typed)
        words = argv[index : index + 1 + (found[0].values if found is not None else 0)]
        if found is None or found[0].name not in names:
            kept += words
        index += max(len(words), 1)
    return kept
