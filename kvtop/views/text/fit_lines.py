"""What llama.cpp's `--fit` made of a command, as lines of text."""

from kvtop.domain.answers.engine_fit import EngineFit, FitValues
from kvtop.domain.answers.plan_answer import Asked, PlanAnswer
from kvtop.domain.answers.room import Fit
from kvtop.text import bytes_text


def fit_lines(answer: PlanAnswer) -> list[str]:
    """Paragraphs: what is changed, what was asked for, what would pin it, and what the fit itself does not say."""
    found = answer.engine_fit
    if found is None:
        return []
    lines = []
    if found.change:
        lines.append(f"--fit: {found.change}")
        if answer.asked is not None:
            lines.append(f"asked for: {_asked(answer.asked)}")
        lines.append(f"pinned by: {' '.join(map(_quoted, found.flags))}")
    if found.reason is not None and not found.is_applied and found.is_within_free is not None:
        lines += _gave_up(found)
    lines += _undercut(answer, found)
    lines += [f"or, depending on compute memory: {_values(found.values, it)}" for it in found.possible]
    return lines


def _asked(asked: Asked) -> str:
    context = asked.plan.context
    cells = f"{context.n_ctx} cells; " if context is not None else ""
    cards = [room for room in asked.rooms if room.room_bytes is not None]
    return cells + ", ".join(
        f"{bytes_text(room.least_bytes)} of {bytes_text(room.room_bytes)} on {room.name}"
        + (" (does not fit)" if room.fit is Fit.TOO_LARGE else "")
        for room in cards
    )


def _gave_up(found: EngineFit) -> list[str]:
    if found.reason is None or found.reason.startswith("--fit is off"):
        return []
    return [f"--fit gives up ({found.reason}), and the server loads all the same"]


def _undercut(answer: PlanAnswer, found: EngineFit) -> list[str]:
    if not found.is_applied:
        return []
    if found.is_within_free is False:
        return ["--fit succeeds, and its answer exceeds what is free: the server will run out of memory as it starts"]
    if found.is_margin_kept is False:
        left = [
            f"{bytes_text((room.room_bytes or 0) - room.least_bytes)} on {room.name}"
            for room in answer.rooms
            if room.room_bytes is not None
        ]
        return [f"--fit does not check its answer again; less than its margin stays free: {', '.join(left)}"]
    return []


def _values(likely: FitValues, other: FitValues) -> str:
    """What is different in another outcome."""
    words = []
    if other.n_ctx != likely.n_ctx:
        words.append(f"context {other.n_ctx}")
    if other.n_gpu_layers != likely.n_gpu_layers:
        words.append("all layers" if other.n_gpu_layers < 0 else f"-ngl {other.n_gpu_layers}")
    if other.tensor_split != likely.tensor_split:
        words.append(f"-ts {','.join(f'{share:g}' for share in other.tensor_split)}")
    if other.overrides != likely.overrides:
        words.append(f"{len(other.overrides)} overrides for {len(likely.overrides)}")
    return ", ".join(words)


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set("\\|()*$&;<> ") else word
