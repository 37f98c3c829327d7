"""What `--fit` makes of a command: the parameters it chooses, every trial, and the bytes of what it leaves behind."""

import re
from typing import Any

from tools.record_oracle.llamacpp.questions import Answer, Question

Recorded = dict[str, Any]

_STATUS = {0: "success", 1: "failure", 2: "error"}
_TRIAL = re.compile(r"id=(\d+), n_layer=\s*(\d+), n_part=\s*(\d+), overflow_type=(\d+), mem=\s*(-?\d+) MiB")
_MESSAGE = "failed to fit params to free device memory: "
_MARGIN_MIB = 1024
_MIB = 2**20


def fit_questions(recorded: Recorded) -> list[Question]:
    """A case's cards are [total, free] MiB; `{MODEL:name}` among its options is the file of another recorded model."""
    host = f"host={recorded['host_total_bytes']}"
    return [
        Question(
            case["id"],
            case["model"],
            tuple(f"{total}:{free}" for total, free in case["devices"]),
            tuple(case["flags"]),
            (host,),
        )
        for case in recorded["cases"]
    ]


def fit_answers(recorded: Recorded, answers: dict[str, Answer]) -> Recorded:
    """The fixture with what the engine says now."""
    cases = [{**case, "expected": _expected(case, answers[case["id"]])} for case in recorded["cases"]]
    return {**recorded, "cases": cases}


def _expected(case: Recorded, answer: Answer) -> Recorded:
    if not answer["parsed"]:
        return {"status": "died", **{key: answer[key] for key in ("signal", "exit") if key in answer}}
    fit, main, draft = answer.get("fit"), answer["main"], answer.get("draft")
    starts = "refused" not in main and (draft is None or "refused" not in draft)
    expected: Recorded = {
        "status": _STATUS[fit["status"]] if fit else "off",
        "starts": starts,
        "chosen_c": fit["n_ctx"] if fit else answer["n_ctx"],
        "n_ctx": main.get("n_ctx", 0),
        "n_ctx_seq": main.get("n_ctx_seq"),
        "n_gpu_layers": fit["n_gpu_layers"] if fit else answer["n_gpu_layers"],
        "tensor_split": [_whole(share) for share in (fit or answer)["tensor_split"]],
        "overrides": (fit or answer)["overrides"],
        "tried": _tried(fit["log"]) if fit else [],
    }
    message = next((line.split(_MESSAGE, 1)[1] for line in (fit or {"log": []})["log"] if _MESSAGE in line), None)
    if message is not None:
        expected["message"] = message
    if starts and all(name.startswith("CUDA") for name in main["devices"]):  # not the one device of -sm tensor
        expected |= _left(case, main, draft)
    return expected


def _left(case: Recorded, main: Answer, draft: Answer | None) -> Recorded:
    """Bytes by device, and what is left of each card that the model uses, with its own margin."""
    found: Recorded = {"by_device": main["by_device"]}
    if draft is not None:
        found["draft_by_device"] = draft["by_device"]
    left = []
    for place, name in enumerate(main["devices"]):
        used = sum(main["by_device"][f"gpu{place}"].values())
        if draft is not None and name in draft["devices"]:
            used += sum(draft["by_device"][f"gpu{draft['devices'].index(name)}"].values())
        free_mib = case["devices"][int(name.removeprefix("CUDA"))][1]
        left.append((free_mib * _MIB - used) / _MIB)
    margins = _margins_mib(case["flags"], len(left))
    found["left_mib"] = [round(mib, 2) for mib in left]
    kept = all(mib >= margin for mib, margin in zip(left, margins, strict=True))
    found["margin_kept"] = kept if left else None
    found["within_free"] = all(mib >= 0 for mib in left) if left else None
    return found


def _margins_mib(flags: list[str], count: int) -> list[int]:
    given = [flags[place + 1] for place, flag in enumerate(flags) if flag in {"-fitt", "--fit-target"}]
    if not given:
        return [_MARGIN_MIB] * count
    margins = [int(word) for word in given[-1].split(",")]
    if len(margins) == 1:
        return margins * count
    return (margins + [_MARGIN_MIB] * count)[:count]


def _tried(log: list[str]) -> list[list[list[int]]]:
    """Every trial as [layers, partial layers, overflow type, MiB] by device; a trial begins with device 0."""
    trials: list[list[list[int]]] = []
    for line in log:
        match = _TRIAL.search(line)
        if match is None:
            continue
        device, *numbers = (int(group) for group in match.groups())
        if device == 0:
            trials.append([])
        trials[-1].append(numbers)
    return trials


def _whole(share: float) -> float | int:
    return int(share) if share == int(share) else share
