"""How many published `vllm serve` commands get an answer, and how far estimated pools are from logged ones.

    python -m tests.bench.vllm_commands COMMANDS.json [--configs CONFIGS.json] [--gpu SPEC] [-v]
    python -m tests.bench.vllm_commands --logs LOGS.json [-v]

COMMANDS is {"commands": [{"model", "command"}], "configs": {model: config.json}}, CONFIGS {"models": {model: {file:
content}}}, LOGS a list of {"command", "config", "gpu", "version", "reported": {"available_kv_gib", "tokens"}}. Every
command is planned in this process from its configuration alone, on as many cards as it has ranks.
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, PoolEstimate, Refusal
from kvtop.planning.commands.command import parse_command, typed_words
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.planner import plan_options
from kvtop.text import UnusableTextError

GIB = 2**30
_RANK_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One command: its exit code, and the cause or the answer in words. `plan` where there is one."""

    model: str
    command: str
    exit_code: int
    said: str
    plan: MemoryPlan | None = None

    @property
    def is_answered(self) -> bool:
        """A number of tokens, or the engine's own refusal."""
        return self.exit_code == 3 or (self.plan is not None and _tokens(self.plan) is not None)


def plan_row(
    model: str, text: str, files: Mapping[str, object], gpus: Sequence[str], version: str | None = None
) -> Row:
    """The answer to one command. `files` are the JSON files of the model's directory, by name."""
    try:
        command = parse_command(typed_words([text]))
        options = parse_serve_options(command.words, environ=dict(command.variables), version=version)
        options = replace(options, engine_version=version)
        checkpoint = Checkpoint(model, _config(files), (), None)
        planned = plan_options(options, checkpoint, _cards(gpus))
    except UnusableTextError as error:
        return Row(model, text, 2, str(error))
    except NoExactRuleError as error:
        return Row(model, text, 4, str(error))
    if isinstance(planned, Refusal):
        return Row(model, text, 3, planned.message)
    return Row(model, text, 0, "; ".join(planned.warnings), planned)


def _config(files: Mapping[str, object]) -> Mapping[str, object]:
    config = files.get("config.json", files)
    quantization = files.get("hf_quant_config.json")
    if not isinstance(config, Mapping):
        raise NoExactRuleError("no config.json")
    return (
        {**config, "quantization_config": quantization}
        if quantization and "quantization_config" not in config
        else config
    )


def _cards(gpus: Sequence[str]) -> tuple[PlanDevice, ...]:
    specs = list(gpus)
    if len(specs) == 1:
        specs *= _RANK_LIMIT
    return parse_gpu_specs(specs)


def _tokens(plan: MemoryPlan) -> int | None:
    if plan.vllm is None:
        return None
    if plan.vllm.kv_cache_tokens is not None:
        return plan.vllm.kv_cache_tokens
    return None if plan.vllm.pool_estimate is None else plan.vllm.pool_estimate.tokens


def _report(rows: Sequence[Row], *, verbose: bool) -> None:
    answered = sum(row.is_answered for row in rows)
    print(f"{answered} of {len(rows)} commands answered ({100 * answered / len(rows):.1f} %)")
    for code, count in sorted(Counter(row.exit_code for row in rows).items()):
        print(f"  exit {code}: {count}")
    unanswered = [row for row in rows if row.exit_code == 0 and not row.is_answered]
    print(f"  exit 0 without a number: {len(unanswered)}")
    for title, group in (
        ("exit 4", [row for row in rows if row.exit_code == 4]),
        ("exit 3", [row for row in rows if row.exit_code == 3]),
        ("exit 2", [row for row in rows if row.exit_code == 2]),
        ("no number", unanswered),
    ):
        for said, count in Counter(row.said[:160] for row in group).most_common():
            print(f"{count:4d}  {title}: {said!r}")
    if verbose:
        for row in rows:
            print(row.exit_code, row.model, _tokens(row.plan) if row.plan else None, _pool_words(row.plan), sep=" | ")


def _pool_words(plan: MemoryPlan | None) -> str:
    found = None if plan is None or plan.vllm is None else plan.vllm.pool_estimate
    if found is None:
        return ""
    low, middle, high = (size / GIB for size in _ends(found))
    return f"{low:.2f} {middle:.2f} {high:.2f} GiB"


def _pools(logs: Sequence[Mapping[str, object]], *, verbose: bool) -> None:
    errors: list[float] = []
    inside = widths = 0
    for log in logs:
        reported, config, gpus = log.get("reported"), log.get("config"), log.get("gpu")
        truth = reported.get("available_kv_gib") if isinstance(reported, Mapping) else None
        if not isinstance(truth, int | float) or not isinstance(config, Mapping) or not isinstance(gpus, list):
            continue
        text = str(log["command"])
        if isinstance(reported, Mapping) and reported.get("gpu_memory_utilization") and "utilization" not in text:
            text += f" --gpu-memory-utilization {reported['gpu_memory_utilization']}"
        version = str(log.get("version", "")).split(" ")[0].replace("x", "0").rstrip(".") or None
        row = plan_row(str(log["id"]), text, {"config.json": config}, [str(gpu) for gpu in gpus], version)
        found = None if row.plan is None or row.plan.vllm is None else row.plan.vllm.pool_estimate
        if found is None:
            print(f"{log['id']:34} {truth:7.2f}  no estimate: {row.exit_code} {row.said[:150]!r}")
            continue
        error = _error(found, truth)
        errors.append(error)
        low, likely, high = _ends(found)
        is_in = low <= truth * GIB <= high
        inside += is_in
        width = (high - low) / 2 / max(likely, 1)
        widths += width <= 0.101
        if verbose:
            print(f"{log['id']:34} {truth:7.2f}  {_pool_words(row.plan)}  {error:+.1%} {'in' if is_in else 'OUT'}")
    if errors:
        print(
            f"{len(errors)} pools: median error {statistics.median(map(abs, errors)):.1%}, {inside} in the range, "
            f"{widths} within 10 % either side"
        )


def _ends(found: PoolEstimate) -> tuple[int, int, int]:
    return found.pool.least_bytes, found.pool.value_bytes or 0, found.pool.most_bytes or 0


def _error(found: PoolEstimate, truth_gib: float) -> float:
    return _ends(found)[1] / GIB / truth_gib - 1


def main() -> int:
    """Plan, count, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="?")
    parser.add_argument("--configs", action="append", default=[])
    parser.add_argument("--logs")
    parser.add_argument("--gpu", default="H200")
    parser.add_argument("-v", "--verbose", action="store_true")
    asked = parser.parse_args()
    if asked.logs:
        _pools(json.loads(Path(asked.logs).read_text(encoding="utf-8")), verbose=asked.verbose)
    if asked.commands:
        known = json.loads(Path(asked.commands).read_text(encoding="utf-8"))
        models: dict[str, Mapping[str, object]] = {name: {"config.json": it} for name, it in known["configs"].items()}
        for path in asked.configs:
            models.update(json.loads(Path(path).read_text(encoding="utf-8"))["models"])
        rows = [
            plan_row(each["model"], each["command"], models[each["model"]], [asked.gpu])
            if each["model"] in models
            else Row(each["model"], each["command"], 9, "no config.json at hand")
            for each in known["commands"]
        ]
        _report(rows, verbose=asked.verbose)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
