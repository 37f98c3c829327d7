"""The fixtures that are recorded: each keeps its cases and gets its answers anew.

A fixture is its own list of questions: models, flags and cards stay, and the engine's answers are replaced.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tools.record_oracle.llamacpp.fits import fit_answers, fit_questions
from tools.record_oracle.llamacpp.questions import (
    Answer,
    Question,
    by_device,
    numbered,
    refusal,
    total,
    warnings,
    with_cards,
)

Recorded = dict[str, Any]

_CARDS = {"cpu": 0, "gpu-sim": 1, "gpu-sim x2": 2}
_PINNED = ("-fit", "off")

_DETAILS = ("flash_attn", "n_ctx_train", "n_layer", "n_rs_seq", "n_swa", "pipeline_parallel")
_RESOLVED = ("kv_unified", "n_batch", "n_ctx", "n_ctx_seq", "n_outputs_max", "n_seq_max", "n_ubatch")


@dataclass(frozen=True, slots=True)
class Fixture:
    """A file of answers: how its cases are asked, and how an answer is written.

    `models` names the file that holds the models, where it is not the file itself.
    """

    name: str
    models: tuple[str, ...]
    questions: Callable[[Recorded], list[Question]]
    answered: Callable[[Recorded, dict[str, Answer]], Recorded]


def _real_size_questions(recorded: Recorded) -> list[Question]:
    return [
        Question(
            case["id"],
            case["model"],
            with_cards(_CARDS[case["device"]]),
            (*_PINNED, *case["flags"]),
            ("details",),
        )
        for case in recorded["cases"]
    ]


def _real_size(detailed: bool) -> Callable[[Recorded, dict[str, Answer]], Recorded]:
    def answered(recorded: Recorded, answers: dict[str, Answer]) -> Recorded:
        cases = [_real_size_case(case, answers[case["id"]], detailed) for case in recorded["cases"]]
        return {**recorded, "cases": cases}

    return answered


def _real_size_case(case: Recorded, answer: Answer, detailed: bool) -> Recorded:
    kept = {key: case[key] for key in ("id", "model", "device", "flags")}
    words = refusal(answer)
    if words is not None:
        return {**kept, "expected": {"error": words}}
    main = answer["main"]
    expected = {
        "by_device": by_device(main, 0 if detailed else _CARDS[case["device"]]),
        "compute_bytes": total(main, "compute"),
        "kv_bytes": total(main, "kv"),
        "output_bytes": main["output_bytes"],
        "weights_bytes": total(main, "weights"),
    }
    names: tuple[str, ...] = _RESOLVED
    if detailed:
        expected |= {key: main[key] for key in ("kv_split", "n_params", "tensor_bytes")}
        names += _DETAILS
        if warnings(answer):
            kept["warnings"] = warnings(answer)
    return {**kept, "resolved": {key: main[key] for key in names}, "expected": expected}


def _flag_mix_questions(recorded: Recorded) -> list[Question]:
    return [
        Question(name, model, with_cards(count), (*_PINNED, *flags))
        for name, (model, count, flags, _) in numbered(recorded["cases"])
    ]


def _flag_mix_answers(recorded: Recorded, answers: dict[str, Answer]) -> Recorded:
    cases = []
    for name, (model, count, flags, _) in numbered(recorded["cases"]):
        words = refusal(answers[name])
        cases.append([model, count, flags, words[0] if words else _rows(answers[name], "weights", "kv", "compute")])
    return {**recorded, "cases": cases}


def _rows(answer: Answer, *parts: str, idle_cards: int = 0) -> dict[str, list[int]]:
    found = by_device(answer["main"], idle_cards)
    return {name: [amounts[part] for part in parts] for name, amounts in found.items()}


_SPELLED = {
    "ctx_tokens": "-c",
    "parallel": "-np",
    "batch_tokens": "-b",
    "ubatch_tokens": "-ub",
    "type_k": "-ctk",
    "type_v": "-ctv",
    "flash_attention": "-fa",
    "gpu_layers": "-ngl",
    "split_mode": "-sm",
}
_SWITCHES = {
    ("kv_unified", True): "-kvu",
    ("kv_unified", False): "--no-kv-unified",
    ("kv_offload", False): "-nkvo",
    ("swa_full", True): "--swa-full",
    ("repack", False): "--no-repack",
    ("embeddings", True): "--embeddings",
    ("cpu_moe", True): "--cpu-moe",
}


def flags_of(settings: dict[str, Any]) -> tuple[str, ...]:
    """llama-server's options for the settings in the fixtures of tiny models. Raises KeyError for another one."""
    flags: list[str] = []
    for key, value in settings.items():
        if key == "tensor_split":
            flags += ["-ts", ",".join(f"{share:g}" for share in value)]
        elif key == "tensor_overrides":
            flags += ["-ot", ",".join(f"{pattern}={place}" for pattern, place in value)]
        elif key == "speculative_types":
            flags += ["--spec-type", ",".join(value)]
        elif isinstance(value, bool):
            flags.append(_SWITCHES[key, value])
        else:
            flags += [_SPELLED[key], str(value)]
    return tuple(flags)


def _architecture_questions(recorded: Recorded) -> list[Question]:
    return [
        Question(name, case["model"], (), (*_PINNED, *flags_of(case["settings"])))
        for name, case in numbered(recorded["cases"])
    ]


def _architecture_answers(recorded: Recorded, answers: dict[str, Answer]) -> Recorded:
    cases = []
    for name, case in numbered(recorded["cases"]):
        kept = {"model": case["model"], "settings": case["settings"]}
        words = refusal(answers[name])
        if words:
            cases.append({**kept, "error": words[0]})
            continue
        main, draft = answers[name]["main"], answers[name].get("draft")
        cache = total(main, "kv") + (total(draft, "kv") if draft else 0)
        cases.append({**kept, "weights": total(main, "weights"), "cache": cache, "n_ctx": main["n_ctx"]})
    return {**recorded, "cases": cases}


def _placement_questions(recorded: Recorded) -> list[Question]:
    return [
        Question(name, model, with_cards(count), (*_PINNED, *flags_of(settings)))
        for name, (model, count, settings, _) in numbered(recorded["cases"])
    ]


def _placement_answers(recorded: Recorded, answers: dict[str, Answer]) -> Recorded:
    cases = []
    for name, (model, count, settings, _) in numbered(recorded["cases"]):
        words = refusal(answers[name])
        said = words[0] if words else _rows(answers[name], "weights", "kv", idle_cards=count)
        cases.append([model, count, settings, said])
    return {**recorded, "cases": cases}


FIXTURES: Iterable[Fixture] = (
    Fixture("llamacpp", ("llamacpp",), _real_size_questions, _real_size(detailed=True)),
    Fixture("llamacpp_more_models", ("llamacpp_more_models",), _real_size_questions, _real_size(detailed=False)),
    Fixture("llamacpp_flag_mixes", ("llamacpp", "llamacpp_more_models"), _flag_mix_questions, _flag_mix_answers),
    Fixture("llamacpp_architectures", ("llamacpp_architectures",), _architecture_questions, _architecture_answers),
    Fixture("llamacpp_placement", ("llamacpp_architectures",), _placement_questions, _placement_answers),
    Fixture("fit", ("llamacpp",), fit_questions, fit_answers),
)
