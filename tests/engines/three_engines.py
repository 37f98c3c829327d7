"""One host with a real llama-server, vLLM and mlx_lm.server, beside the stand-in driver: docs/three-engines.

    python -m tests.engines.three_engines

Needs what `tests/engines/install.py` installs, and a machine where no other server runs (`unshare -pf --mount-proc`
before the command hides the others). Starts the three on loopback, sends requests, records half a minute with
`kvtop record --anonymize`, takes a snapshot, and writes the recording, the picture and a page that holds kvtop's
figures against what each engine logs or counts itself.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))
DOCS = ROOT / "docs"
SECONDS = 30
GIB = 2**30
POOL_BYTES = 64 * 2**20
_MIB = re.compile(r"\s(\S+)\s+(model|KV|compute|output) buffer size\s*=\s*([\d.]+) MiB")
_POOL = re.compile(r"KV cache size: ([\d,]+) tokens")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(command: list[str], log: Path, port: int, environ: dict[str, str]) -> Iterator[int]:
    """A server, from its start to when it answers; gives its pid."""
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env={**os.environ, **environ})
    try:
        ends = time.monotonic() + 600
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.5)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _ask(port: int, model: str, tokens: int) -> None:
    """One request, its answer thrown away."""
    body = json.dumps({"model": model, "prompt": "the sea was calm and", "max_tokens": tokens, "temperature": 1.0})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", body.encode(), {"Content-Type": "application/json"}
    )
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=600) as reply:
        reply.read()


def _keep_busy(port: int, model: str, tokens: int, is_over: threading.Event) -> None:
    """One request after the other: a small model answers within seconds."""
    while not is_over.is_set():
        _ask(port, model, tokens)


def _stand_in(directory: Path) -> dict[str, str]:
    """A card with nothing of ours on it, as the stand-in for the NVIDIA driver tells it."""
    library, scenario = directory / "libnvidia-ml.so.1", directory / "scenario"
    source = ROOT / "tests" / "standin_nvml" / "standin_nvml.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    scenario.write_text(
        f"device gpu0\nname gpu0 Stand-in for an RTX 4090\nuuid gpu0 GPU-0\ntotal gpu0 {24 * GIB}\n"
        f"used gpu0 {2 * GIB}\nreserved gpu0 0\ncc gpu0 8 9\nprocess gpu0 graphics 1 {2 * GIB}\n",
        encoding="utf-8",
    )
    return {"LD_LIBRARY_PATH": str(directory), "STANDIN_NVML_SCENARIO": str(scenario)}


def _kvtop(*words: str, environ: dict[str, str]) -> str:
    command = [sys.executable, "-m", "kvtop", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environ})
    return done.stdout


def _server(frame: dict[str, Any], engine: str) -> dict[str, Any]:
    (found,) = [it for it in frame["servers"] if it["engine"] == engine]
    value: dict[str, Any] = found
    return value


def _on_host(server: dict[str, Any]) -> dict[str, Any]:
    (memory,) = [it for it in server["memory"] if it["device"] == "host"]
    parts = [segment["bytes"] for segment in memory["segments"].values()]
    if sum(part for part in parts if part is not None) != memory["driver_bytes"]:
        raise SystemExit(f"the segments of {server['engine']} do not add up: {memory}")
    value: dict[str, Any] = memory
    return value


def _cell(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 2**20:,.2f}"


def _page(frame: dict[str, Any], logs: dict[str, Path]) -> str:
    rows = ["| engine | figure | kvtop, MiB | the engine itself, MiB | by |", "| --- | --- | ---: | ---: | --- |"]
    llama = _on_host(_server(frame, "llama.cpp"))["segments"]
    buffers: dict[str, list[float]] = {}
    for _, kind, size in _MIB.findall(logs["llama.cpp"].read_text(errors="replace")):
        buffers.setdefault(kind, []).append(float(size))
    scratch = llama["compute"]["bytes"]
    told = {
        "weights": (llama["weights"]["bytes"], buffers["model"]),
        "KV cache": (llama["kv_cache"]["bytes"], buffers["KV"]),
        "compute and output": (scratch, buffers["compute"] + buffers["output"]),
    }
    rows += [
        f"| llama.cpp | {name} | {_cell(ours)} | {sum(its):,.2f} | its log |" for name, (ours, its) in told.items()
    ]
    vllm = _server(frame, "vllm")
    (logged,) = set(_POOL.findall(logs["vllm"].read_text(errors="replace")))
    pool = _cell(_on_host(vllm)["segments"]["kv_cache"]["bytes"])
    rows.append(f"| vLLM | KV cache | {pool} | {POOL_BYTES / 2**20:,.2f} | its --kv-cache-memory-bytes |")
    rows.append(f"| vLLM | KV capacity, tokens | {vllm['kv_cache']['capacity_tokens']:,} | {logged} | its log |")
    mlx = _on_host(_server(frame, "mlx"))["segments"]
    (report,) = [json.loads(it.read_text()) for it in logs["mlx reports"].glob("kvtop/mlx-*.json")]
    active = sum(mlx[name]["bytes"] or 0 for name in ("weights", "kv_cache"))
    rows.append(
        f"| MLX | weights and cache | {_cell(active)} | {report['active_bytes'] / 2**20:,.2f} | its own counter |"
    )
    split = ["| engine | measured total | weights | KV cache | compute | runtime | unattributed |", f"|{' --- |' * 7}"]
    for engine in ("llama.cpp", "vllm", "mlx"):
        memory = _on_host(_server(frame, engine))
        names = ("weights", "kv_cache", "compute", "runtime", "unattributed")
        cells = [_cell(memory["segments"][name]["bytes"]) for name in names]
        split.append(f"| {engine} | {_cell(memory['driver_bytes'])} | {' | '.join(cells)} |")
    return "\n".join(
        [
            "# Three engines on one host",
            "",
            "A real llama-server b11434 (Gemma 3 270M), a real vLLM 0.32.0 (CPU build) and a real mlx_lm.server 0.32.2",
            "(CPU, started with `kvtop wrap`) on one machine, beside a stand-in for the NVIDIA driver. Made by",
            "`python -m tests.engines.three_engines`; `kvtop replay docs/three-engines.kvtop` plays what it recorded.",
            "",
            "![the three](three-engines.svg)",
            "",
            "## What kvtop says beside what each engine says",
            "",
            *rows,
            "",
            "llama.cpp's log counts matrices that it repacks for the CPU twice, mapped and repacked; kvtop counts them",
            "once as weights, and the copy is what its split leaves unattributed.",
            "",
            "## The splits, MiB of host memory",
            "",
            *split,
            "",
            "The measured total is the resident set of a server's processes. vLLM's is mostly Python and PyTorch: no",
            "rule divides that further, so it is shown as unattributed and not guessed.",
            "",
        ]
    )


def main() -> int:
    """Write the three files; 0 when done."""
    ports = {name: _free_port() for name in ("llama.cpp", "vllm", "mlx")}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        logs = {engine: directory / f"{engine}.log" for engine in ports} | {"mlx reports": directory}
        environ = {**_stand_in(directory), "XDG_RUNTIME_DIR": str(directory)}
        models = CACHE / "models"
        commands = {
            "llama.cpp": [
                *(
                    str(CACHE / "llama.cpp-b11434" / "bin" / "llama-server"),
                    "-m",
                    str(models / "gemma-3-270m-q4_k_m.gguf"),
                ),
                *("-c", "8192", "-t", "1", "-lv", "4", "--metrics"),
            ],
            "vllm": [
                *(str(CACHE / "vllm-0.32.0" / "bin" / "vllm"), "serve", str(models / "tiny-llama")),
                *("--served-model-name", "tiny", "--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager"),
                *("--kv-cache-memory-bytes", str(POOL_BYTES)),
            ],
            "mlx": [
                *(sys.executable, "-m", "kvtop", "wrap", "--"),
                *(str(CACHE / "mlx-lm-0.32.2" / "bin" / "mlx_lm.server"), "--model", str(models / "tiny-llama-mlx")),
            ],
        }
        cpu = {"VLLM_CPU_CI_ENV": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
        own = {**environ, **cpu, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        for engine, command in commands.items():
            print(f"starting {engine}", flush=True)
            words = [*command, "--host", "127.0.0.1", "--port", str(ports[engine])]
            stack.enter_context(_running(words, logs[engine], ports[engine], own))
        models_named = {"llama.cpp": "any", "vllm": "tiny", "mlx": "default_model"}
        is_over = threading.Event()
        stack.callback(is_over.set)
        asking = [
            threading.Thread(target=_keep_busy, args=(port, models_named[engine], 1200, is_over), daemon=True)
            for engine, port in ports.items()
        ]
        for thread in asking:
            thread.start()
        recording, picture = DOCS / "three-engines.kvtop", DOCS / "three-engines.svg"
        recording.unlink(missing_ok=True)
        time.sleep(3)
        _kvtop("snapshot", "--anonymize", "--format", "svg", "-o", str(picture), environ=environ)
        _kvtop("record", "--anonymize", "--duration", f"{SECONDS}s", str(recording), environ=environ)
        is_over.set()
        for thread in asking:
            thread.join(timeout=300)
        time.sleep(3)  # the reporter inside mlx_lm.server writes once a second
        frame = json.loads(_kvtop("snapshot", "--format", "json", environ=environ))
        (DOCS / "three-engines.md").write_text(_page(frame, logs), encoding="utf-8")
    print(f"wrote docs/three-engines.md, .svg and .kvtop ({recording.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
