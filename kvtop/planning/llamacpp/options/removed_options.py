"""Options that newer builds of llama-server no longer take, and what says the same now.

Which builds took them: `options_by_build.WENT`, and `arg_removed` of common/arg.cpp (b11434). A command that has one is
planned as it was meant; what the build makes of it is a finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvtop.domain.launch import RemovedOption
from kvtop.planning.llamacpp.options.table import BY_SPELLING
from kvtop.planning.llamacpp.rules.options_by_build import WENT

_VALUE = "VALUE"
_LOAD_MODE = ("--load-mode",)
_REPLACED: dict[str, tuple[str, ...]] = {
    "--no-mmap": ("--load-mode", "none"),
    "--mmap": ("--load-mode", "mmap"),
    "--mlock": ("--load-mode", "mlock"),
    "--direct-io": ("--load-mode", "dio"),
    "-dio": ("--load-mode", "dio"),
    "--no-direct-io": (),
    "-ndio": (),
    "--clear-idle": ("--cache-idle-slots",),
    "--no-clear-idle": ("--no-cache-idle-slots",),
    "--checkpoint-every-n-tokens": ("--checkpoint-min-step", _VALUE),
    "-cpent": ("--checkpoint-min-step", _VALUE),
    "--ctx-size-draft": (),
    "-cd": (),
    "--dump-kv-cache": (),
    "-dkvc": (),
    "--verbose-prompt": (),
    "--spec-replace": (),
    "--draft": ("--spec-draft-n-max", _VALUE),
    "--draft-n": ("--spec-draft-n-max", _VALUE),
    "--draft-max": ("--spec-draft-n-max", _VALUE),
    "--draft-min": ("--spec-draft-n-min", _VALUE),
    "--draft-n-min": ("--spec-draft-n-min", _VALUE),
}
"""Spelling -> the words that stand for it now; () for none."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A command's words with today's options in place of the removed ones, which `removed` names."""

    words: tuple[str, ...]
    removed: tuple[RemovedOption, ...]


def rewritten(words: Sequence[str], build: int | None) -> Rewritten:
    """The words as the newest table knows them. `build`: the number of the one that starts; None: unknown.

    What the build itself still takes stays as it is.
    """
    kept: list[str] = []
    removed: list[RemovedOption] = []
    index = 0
    while index < len(words):
        typed = words[index]
        word = typed.replace("_", "-") if typed.startswith("--") else typed
        spec = BY_SPELLING.get(word)
        other = WENT.get(word)
        length = 1 + (other.values if other is not None else spec[0].values if spec is not None else 0)
        following = tuple(words[index : index + length])
        index += length
        if word not in _REPLACED or (other is not None and build is not None and other.is_known_to(build)):
            kept += following
            continue
        now = tuple(following[-1] if it == _VALUE else it for it in _REPLACED[word])
        kept += now
        last, first = (0, 0) if other is None else other.went
        removed.append(RemovedOption(typed, now, last, first))
    modes = {it.now[1] for it in removed if it.now[:1] == _LOAD_MODE}
    if modes == {"none", "mlock"}:
        # Locked, and not mapped: one value says both.
        kept += (*_LOAD_MODE, "mlock")
        removed = [replace(it, now=(*_LOAD_MODE, "mlock")) if it.now[:1] == _LOAD_MODE else it for it in removed]
    return Rewritten(tuple(kept), tuple(removed))


def removed_words(found: RemovedOption) -> str:
    """Since when it is gone: "removed between b10566 and b11063"."""
    if not found.first_without:
        return "removed"
    return f"removed between b{found.last_version} and b{found.first_without}"
