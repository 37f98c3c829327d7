"""The real llama-server under random mixes of options, on tiny models of nearly every architecture.

The server is stopped as soon as it has logged its buffers: the models have no vocabulary and no data.
"""

import random
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.registry import plan_launch
from kvtop.sources.model_files.gguf import read_gguf
from tests.amounts import high_of, low_of, size_of
from tests.engines.conftest import SERVER
from tests.oracle import cases as oracle_cases

MIXES_A_SEED = 60
_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_CHOICES: tuple[tuple[float, str, tuple[object, ...]], ...] = (
    (0.8, "-c", (0, 1, 100, 255, 256, 257, 1000, 2048, 4096, 5000, 8192, 10000)),
    (0.6, "-np", (1, 2, 4, 5, 8, 16, 64, -1)),
    (0.3, "", ("-kvu", "--no-kv-unified")),
    (0.1, "--kv-unified-per-slot", (100, 1000, 4096)),
    (0.3, "-b", (1, 8, 64, 100, 1024, 8192)),
    (0.4, "-ub", (1, 8, 64, 100, 512, 1024)),
    (0.5, "-ctk", _TYPES),
    (0.5, "-ctv", _TYPES),
    (0.4, "-fa", ("on", "off", "auto")),
    (0.2, "", ("--swa-full",)),
    (0.1, "", ("--embeddings", "-nkvo", "--cpu-moe", "--no-host")),
    (0.1, "--pooling", ("none", "mean", "last")),
    (0.1, "--spec-type", ("ngram-simple", "ngram-mod", "ngram-cache")),
    (0.7, "-fit", ("off",)),
)
_LEFT_OUT = ("-mtp", "bert", "deepseek4", "kimi-linear")
"""Recorded with prediction blocks cut off, in need of a vocabulary, with a buffer that is logged under no name, and one
whose graph fails an assertion of the engine's for some numbers of sequences."""
_BUFFER = re.compile(r"(KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")
_VALUE = re.compile(r"llama_context: (n_ctx|n_ctx_seq|n_seq_max)\s+= (\d+)")
_LINE_MIB = 0.006
"""Every line is rounded to hundredths; a cache has up to four."""


@dataclass
class Started:
    """What the server logged of its last context before it was stopped; `complaints` where it left by itself."""

    values: dict[str, int] = field(default_factory=dict)
    mib: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def _started(words: list[str]) -> Started:
    command = [str(SERVER), *words, "--host", "127.0.0.1", "--port", "1", "--no-warmup", "-lv", "4"]
    found = Started()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        deadline = threading.Timer(300, process.kill)
        deadline.start()
        assert process.stdout is not None
        for line in process.stdout:
            if value := _VALUE.search(line):
                if value[1] == "n_seq_max":  # the first of a context's lines
                    found.mib.clear()
                found.values[value[1]] = int(value[2])
            elif size := _BUFFER.search(line):
                found.mib[size[1]] = found.mib.get(size[1], 0.0) + float(size[2])
                if size[1] == "compute":
                    break
            elif " E " in line or "error" in line.lower() or "ASSERT" in line:
                found.complaints.append(line)
        deadline.cancel()
        process.kill()
    return found


def _write(path: Path, header: GgufHeader) -> Path:
    """The header as a file without vocabulary whose data is a hole."""
    assert header.architecture is not None
    writer = gguf.GGUFWriter(path, header.architecture)
    writer.add_string("tokenizer.ggml.model", "no_vocab")
    for key, value in header.metadata.items():
        if key.startswith("tokenizer.") or key == "general.architecture":
            continue
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            (writer.add_uint32 if value >= 0 else writer.add_int32)(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, tuple) and value:
            writer.add_array(key, list(value))
    size_bytes = 0
    for tensor in header.tensors:
        assert tensor.size_bytes is not None
        kind = gguf.GGMLQuantizationType(tensor.type_id)
        shape = list(reversed(tensor.shape))
        rows = gguf.quant_shape_to_byte_shape(shape, kind)
        writer.add_tensor_info(tensor.name, rows, np.dtype(np.uint8), tensor.size_bytes, kind)
        size_bytes += -(-tensor.size_bytes // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(-(-path.stat().st_size // 32) * 32 + size_bytes)
    return path


def _mixes(seed: int, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    chance = random.Random(seed)
    for _ in range(MIXES_A_SEED):
        words: list[str] = []
        for probability, flag, values in _CHOICES:
            if chance.random() < probability:
                words += [flag, str(chance.choice(values))] if flag else [str(chance.choice(values))]
        yield chance.choice(names), words


@pytest.mark.engines
@pytest.mark.parametrize("seed", range(3))
def test_plans_and_refusals_are_the_servers_own(seed: int, tmp_path: Path) -> None:
    headers, _ = oracle_cases.load_architectures()
    names = [name for name in headers if not any(word in name for word in _LEFT_OUT)]
    wrong: list[str] = []
    held = planned = 0
    for name, words in _mixes(seed, names):
        path = tmp_path / f"{name}.gguf"
        model = read_gguf(path if path.exists() else _write(path, headers[name]))
        command = ["-m", str(path), *words]
        try:
            answer = plan_launch(parse_llama_server(command, {}), prepare(model), ())
        except NoExactRuleError:
            continue
        server = _started(command)
        told = f"{name} {' '.join(words)}"
        if isinstance(answer, Refusal):
            if "compute" in server.mib or not any(answer.message in line for line in server.complaints):
                wrong.append(f"{told}: {answer.message}, but {server}")
            continue
        if "compute" not in server.mib:
            wrong.append(f"{told}: planned, but {server.complaints}")
            continue
        planned += 1
        wrong += [f"{told}: {what}" for what in _differences(answer, server)]
        (host,) = answer.devices
        low, high = low_of(host, Segment.COMPUTE) / 2**20, high_of(host, Segment.COMPUTE) / 2**20
        held += low - _LINE_MIB <= server.mib["compute"] <= high + _LINE_MIB
    assert not wrong, "\n".join(wrong)
    assert planned > MIXES_A_SEED / 2
    # A tiny model is all small buffers, and some of its graphs are only roughly known.
    assert held >= 0.9 * planned


def _differences(answer: MemoryPlan, server: Started) -> Iterator[str]:
    (host,) = answer.devices
    context = answer.context
    assert context is not None
    expected = {"n_ctx": context.n_ctx, "n_ctx_seq": context.n_ctx_seq, "n_seq_max": context.n_seq_max}
    if server.values != expected:
        yield f"context {expected}, logged {server.values}"
    caches = (size_of(host, Segment.KV_CACHE) + size_of(host, Segment.RECURRENT)) / 2**20
    logged = server.mib.get("KV", 0.0) + server.mib.get("RS", 0.0)
    if abs(caches - logged) > 4 * _LINE_MIB:
        yield f"caches of {caches} MiB, logged {logged}"
    output = size_of(host, Segment.OUTPUT) / 2**20
    if abs(output - server.mib.get("output", 0.0)) > _LINE_MIB:
        yield f"outputs of {output} MiB, logged {server.mib.get('output')}"
