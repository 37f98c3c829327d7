"""`kvtop plan` from the command line to text, JSON and exit codes, on a small model written here."""

import json
import math
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from kvtop.cli import main
from kvtop.domain.answers.plan_answer import PlanAnswer, device_fit
from kvtop.domain.answers.room import Room
from kvtop.domain.figure import Figure
from kvtop.domain.plan import MemoryPlan
from kvtop.verbs.command_line.plan_gate import gate
from tests.amounts import share

BYTES_PER_TOKEN = 2 * 2 * 2 * 16 * 2  # layers, K and V, heads, head length, f16


def write_model(path: Path, architecture: str, name: str = "Tiny") -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_block_count(2)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["a"] * 32)
    shapes = {"token_embd": (32, 64), "output_norm": (64,), "output": (32, 64)}
    for layer in range(2):
        shapes |= {f"blk.{layer}.{part}_norm": (64,) for part in ("attn", "ffn")}
        shapes |= {f"blk.{layer}.attn_{part}": (64, 64) for part in ("q", "output")}
        shapes |= {f"blk.{layer}.attn_{part}": (32, 64) for part in ("k", "v")}
        shapes |= {f"blk.{layer}.ffn_{part}": (128, 64) for part in ("up", "gate")}
        shapes |= {f"blk.{layer}.ffn_down": (64, 128)}
    for tensor, shape in shapes.items():
        writer.add_tensor(f"{tensor}.weight", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A llama model of 2 layers, and an environment without a word for llama.cpp."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("LLAMA_ARG_CTX_SIZE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return write_model(tmp_path / "tiny.gguf", "llama")


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["plan", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def plan_json(capsys: pytest.CaptureFixture[str], *words: str, exits: int = 0) -> dict[str, Any]:
    code, out, _ = plan(capsys, "--json", *words)
    assert code == exits
    document: dict[str, Any] = json.loads(out)
    return document


def test_json_keeps_the_contract(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan_json(capsys, "--gpu", "8GiB", "--", "llama-server", "-m", str(model), "-c", "2048", "-np", "2")
    assert found["schema"] == "kvtop.plan/1"
    assert found["engine"] == "llama.cpp"
    assert found["model"] == "Tiny"
    assert found["context"] == {"n_ctx": 2048, "n_ctx_seq": 1024, "n_seq_max": 2, "kv_unified": False}
    assert [part["name"] for part in found["devices"]] == ["gpu0", "host"]
    assert found["kv_cache"] == {"bytes_per_token": BYTES_PER_TOKEN, "by_kind": {"full": 2048 * BYTES_PER_TOKEN}}
    assert found["devices"][0]["kv_cache_bytes"] == 2048 * BYTES_PER_TOKEN
    keys = {"weights_bytes", "kv_cache_bytes", "recurrent_state_bytes", "compute_bytes", "output_bytes"}
    assert found["total"].keys() == keys
    for key in keys - {"compute_bytes"}:
        assert found["total"][key] == sum(part[key] for part in found["devices"])
    for key in ("value", "low", "high"):
        assert found["total"]["compute_bytes"][key] == sum(part["compute_bytes"][key] for part in found["devices"])
    assert found["vllm"] is None
    assert found["devices"][0]["fit"] == "fits"
    assert found["devices"][0]["available_bytes"] == 8 << 30
    assert "steps" not in found
    assert "error" not in found


def test_explain_gives_every_step_its_rule(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan_json(capsys, "--explain", "--gpu", "none", "--", "llama-server", "-m", str(model))
    assert len(found["steps"]) >= 3
    assert all(step["text"] and step["rule"] for step in found["steps"])


def test_without_accelerators_everything_is_on_the_host(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan_json(capsys, "--gpu", "none", "--", "./llama-server", "--model", str(model), "-c", "512")
    assert [part["name"] for part in found["devices"]] == ["host"]
    assert found["devices"][0]["available_bytes"] > 0


def test_text_fits_a_terminal_and_says_who_says_so(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = plan(capsys, "--explain", "--gpu", "RTX 4090", "--", "llama-server", "-m", str(model), "-c", "2048")
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "gpu0 RTX 4090" in text
    assert f"computed, {2048 * BYTES_PER_TOKEN} bytes" in text
    assert "estimated," in text
    assert "fits, " in text
    assert "largest context that fits: 4096 tokens" in text


def test_a_plan_that_does_not_fit_says_by_how_much(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--gpu", "1MiB", "--", "llama-server", "-m", str(model), "-c", "4096")
    code, text, err = plan(capsys, *words)
    assert (code, err) == (1, "")
    assert "does not fit, " in text
    assert "no context fits" in text
    found = plan_json(capsys, *words, exits=1)
    assert found["devices"][0]["fit"] == "does not fit"
    assert found["largest_context_tokens"] == 0


def test_names_from_the_file_cannot_drive_the_terminal(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(model, "llama", "Tiny\x1b[2J\u202e")
    _, text, _ = plan(capsys, "--gpu", "none", "--", "llama-server", "-m", str(model))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_environment_and_files_count_as_for_the_server(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "1024")
    directory = tmp_path / "config" / "llama.cpp"
    directory.mkdir(parents=True)
    (directory / "config.ini").write_text("cache-type-k = bf16\nctx-size = 256\n", encoding="utf-8")
    found = plan_json(capsys, "--gpu", "none", "--", "llama-server", "-m", str(model))
    assert found["context"]["n_ctx"] == 1024
    assert found["cache_types"]["k"] == "bf16"
    assert "from the environment: LLAMA_ARG_CTX_SIZE = 1024" in found["notes"]
    assert any("cache-type-k = bf16" in note for note in found["notes"])
    before = plan_json(capsys, "--gpu", "none", "--", "LLAMA_ARG_CTX_SIZE=512", "llama-server", "-m", str(model))
    assert before["context"]["n_ctx"] == 512


def test_a_whole_command_in_quotes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_json(capsys, "--gpu", "none", "--", f"llama-server -m '{model}' -c 512")["context"]["n_ctx"] == 512


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-fa", "-c", "4096"], "error while handling argument \"-fa\": error: unknown value for --flash-attn: '-c'"),
        (["-ctk", "q6_k"], 'error while handling argument "-ctk": Unsupported cache type: q6_k'),
        (["--brand-new", "1"], "error: invalid argument: --brand-new"),
        (
            ["-ctv", "q8_0", "-fa", "off"],
            "llama_init_from_model: quantized V cache requires flash_attn to be enabled",
        ),
    ],
)
def test_refusals_are_in_the_engines_words(
    words: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = plan(capsys, "--json", "--gpu", "none", "--", "llama-server", "-m", str(model), *words)
    assert code == 3
    document = json.loads(out)
    assert document["error"] == {"message": message}
    assert "total" not in document
    code, out, err = plan(capsys, "--gpu", "none", "--", "llama-server", "-m", str(model), *words)
    assert (code, out) == (3, "")
    assert message in err


def test_no_rule_no_number_unless_a_guess_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = write_model(tmp_path / "strange.gguf", "never-heard-of")
    words = ("--gpu", "8GiB", "--", "llama-server", "-m", str(strange), "-c", "2048")
    code, out, _ = plan(capsys, "--json", *words)
    assert code == 4
    document = json.loads(out)
    assert "never-heard-of" in document["error"]["message"]
    assert "devices" not in document
    guessed = plan_json(capsys, "--assume", "full-attention", *words)
    assert guessed["assumption"] == "every layer is plain full attention"
    assert guessed["architecture"] == "never-heard-of"
    assert guessed["total"]["kv_cache_bytes"] == 2048 * BYTES_PER_TOKEN
    _, text, _ = plan(capsys, "--assume", "full-attention", *words)
    assert "estimate only: no exact rule" in text
    assert "computed" not in text


def test_what_a_person_can_mend_is_exit_code_2_and_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    for words, name in (
        (["--gpu", "none", "--", "llama-server", "-m", str(tmp_path / "gone.gguf")], "gone.gguf"),
        (["--gpu", "none", "--", "llama-server", "-m", str(broken)], "broken.gguf"),
        (["--gpu", "none", "--", "llama-server"], "names no model"),
        (["--gpu", "H9999", "--", "llama-server", "-m", "x"], "H9999"),
        (["--gpu", "none", "--", "vllm", "serve", str(tmp_path / "nowhere")], "nowhere"),
        (["--gpu", "none", "--", "vllm", "serve", "x", "--config", str(tmp_path / "gone.yaml")], "gone.yaml"),
        (["--gpu", "none", "--", "make", "coffee"], "llama-server"),
        ([], "llama-server"),
    ):
        code, out, err = plan(capsys, *words)
        assert (code, out) == (2, "")
        assert name in err
        assert err.count("\n") == 1
    code, out, _ = plan(capsys, "--json", "--gpu", "none", "--", "llama-server", "-m", str(broken))
    assert code == 2
    assert "broken.gguf" in json.loads(out)["error"]["message"]


def _vllm_model(directory: Path) -> Path:
    directory.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "num_hidden_layers": 2,
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "vocab_size": 1000,
    }
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return directory


def _with_weights(directory: Path) -> Path:
    """The same model with a weights file that holds a header and a hole."""
    shapes = {"model.embed_tokens.weight": [1000, 512], "lm_head.weight": [1000, 512], "model.norm.weight": [512]}
    for layer in range(2):
        stem = f"model.layers.{layer}."
        shapes |= {f"{stem}{name}.weight": [512] for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{stem}self_attn.{name}_proj.weight": [512, 512] for name in "qo"}
        shapes |= {f"{stem}self_attn.{name}_proj.weight": [128, 512] for name in "kv"}
        shapes |= {f"{stem}mlp.{name}_proj.weight": [1024, 512] for name in ("gate", "up")}
        shapes |= {f"{stem}mlp.down_proj.weight": [512, 1024]}
    header, offset = {}, 0
    for name, shape in shapes.items():
        size_bytes = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size_bytes]}
        offset += size_bytes
    text = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return directory


def test_a_likely_pool_is_told_with_its_range_where_vllm_measures_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = str(_with_weights(_vllm_model(tmp_path / "model")))
    words = ("--gpu", "24GiB", "--", "vllm", "serve", directory, "--gpu-memory-utilization", "0.5")
    found = plan_json(capsys, *words)
    likely = found["vllm"]["pool_estimate"]
    per_rank = likely["bytes_per_rank"]
    assert 0 < per_rank["low"] < per_rank["value"] < per_rank["high"]
    gone = found["devices"][0]["weights_bytes"] + found["devices"][0]["compute_bytes"]["value"]
    assert per_rank["value"] + gone == 12 << 30
    assert likely["kv_cache_tokens"]["low"] < likely["kv_cache_tokens"]["high"]
    assert found["vllm"]["num_gpu_blocks"] is None
    _, text, _ = plan(capsys, *words)
    assert "KV pool per rank: " in text
    stated = plan_json(capsys, *words, "--kv-cache-memory-bytes", "1G")
    assert stated["vllm"]["pool_estimate"] is None
    _, text, _ = plan(capsys, *words[:-1], "0.01")
    assert "vLLM would refuse to start" in " ".join(text.split())


def test_vllm_blocks_and_the_pool_that_only_profiling_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(_vllm_model(tmp_path / "model"))
    words = ("--gpu", "H100", "--", "vllm", "serve", directory)
    found = plan_json(capsys, *words, "--kv-cache-memory-bytes", "1G")
    assert found["context"] is None
    assert found["vllm"]["num_gpu_blocks"] * found["vllm"]["bytes_per_block"] <= 1 << 30
    assert found["vllm"]["kv_cache_tokens"] == found["vllm"]["num_gpu_blocks"] * found["vllm"]["block_size_tokens"]
    assert [part["name"] for part in found["devices"]] == ["gpu0"]
    open_ended = plan_json(capsys, *words)
    assert open_ended["vllm"]["num_gpu_blocks"] is None
    assert open_ended["total"]["kv_cache_bytes"] is None
    assert open_ended["devices"][0]["fit"] == "fits"
    assert open_ended["devices"][0]["needed_bytes"]["value"] == open_ended["vllm"]["requested_bytes_per_rank"][0]
    _, text, _ = plan(capsys, *words)
    assert "KV pool per rank" in text
    code, _, err = plan(capsys, *words, "--tensor-parallel-size", "2")
    assert code == 3
    assert "World size (2)" in err


def _stand_in_tool(directory: Path, says: str) -> Path:
    """A server's program with a tool beside it that prints `says` and remembers how it was called."""
    server = directory / "llama-server"
    tool = directory / "llama-fit-params"
    server.write_text("#!/bin/sh\n", encoding="utf-8")
    tool.write_text(f'#!/bin/sh\necho "$@" > {directory}/called\nprintf "{says}"\n', encoding="utf-8")
    for program in (server, tool):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return server


def test_verify_holds_the_plan_against_the_engines_own_tool(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = _stand_in_tool(tmp_path, "Host 0 1 77\\n")
    words = (
        "--gpu",
        "none",
        "--verify",
        "--",
        str(server),
        "-m",
        str(model),
        "-c",
        "4096",
        "-np",
        "4",
        "-kvu",
        "-nkvo",
    )
    found = plan_json(capsys, *words)
    checks = {check["what"]: check for check in found["verify"]["checks"]}
    assert checks["weights"]["agrees"]
    assert checks["KV cache and state"]["planned_mib"] == 4096 * BYTES_PER_TOKEN >> 20
    called = (tmp_path / "called").read_text(encoding="utf-8").split()
    assert called[:2] == ["-m", str(model)]
    assert "--no-kv-offload" in called
    assert called[-5:] == ["--parallel", "1", "--no-repack", "--fit-print", "on"]
    assert "-kvu" not in called
    _, text, _ = plan(capsys, *words)
    assert "agrees" in text
    assert "one slot" in text


def test_verify_shows_a_difference_and_says_when_it_cannot_compare(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = _stand_in_tool(tmp_path, "Host 9 1 77\\n")
    _, text, _ = plan(capsys, "--gpu", "none", "--verify", "--", str(server), "-m", str(model))
    assert "it says 9 MiB" in text
    (tmp_path / "llama-fit-params").unlink()
    _, text, _ = plan(capsys, "--gpu", "none", "--verify", "--", str(server), "-m", str(model))
    assert "not compared: " in text
    _, text, _ = plan(capsys, "--gpu", "24GiB", "--verify", "--", str(server), "-m", str(model))
    assert "not at those" in text


def test_a_plan_starts_fast_and_without_the_dashboard(model: Path) -> None:
    words = ["plan", "--json", "--gpu", "24GiB", "--", "llama-server", "-m", str(model)]
    command = [sys.executable, "-X", "importtime", "-m", "kvtop", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "kvtop.planning.llamacpp.planner" in done.stderr
    for library in ("textual", "pydantic", "httpx2", "psutil", "pynvml", "asyncio", "kvtop.planning.vllm"):
        assert library not in done.stderr


@pytest.mark.parametrize("start", [["mlx_lm.server"], ["mlx_lm", "server"], ["python", "-m", "mlx_lm", "server"]])
def test_mlx_is_planned_for_one_sequence(start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(_with_weights(_vllm_model(tmp_path / "model")))
    words = ("--gpu", "16GiB,backend=metal", "--", *start, "--model", directory)
    found = plan_json(capsys, "--at", "1k", *words)
    assert (found["engine"], found["context"], found["vllm"]) == ("mlx", None, None)
    assert found["total"]["kv_cache_bytes"] == 1024 * found["kv_cache"]["bytes_per_token"]
    assert found["devices"][0]["available_bytes"] == 16 << 30
    assert found["total"]["compute_bytes"] == {"value": None, "low": None, "high": None}
    assert found["devices"][0]["fit"] == "unknown"
    assert found["largest_context_tokens"] == 4096
    assert plan_json(capsys, *words)["total"]["kv_cache_bytes"] > found["total"]["kv_cache_bytes"]


def test_mlx_tells_the_longest_sequence_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(_with_weights(_vllm_model(tmp_path / "model")))
    words = ("--gpu", "14MiB,backend=metal", "--", "mlx_lm.server", "--model", directory)
    found = plan_json(capsys, *words, exits=1)
    assert 0 < found["largest_context_tokens"] < 4096
    assert found["largest_context_tokens"] % 256 == 0


def test_without_weights_no_longest_sequence_is_claimed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(_vllm_model(tmp_path / "model"))
    found = plan_json(capsys, "--gpu", "64MiB,backend=metal", "--", "mlx_lm.server", "--model", directory)
    assert found["total"]["weights_bytes"] is None
    assert found["largest_context_tokens"] is None


def test_the_frontier_says_what_fits_and_where_it_stands(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--frontier", "--gpu", "24GiB", "--", "llama-server", "-m", str(model), "-c", "2048")
    found = plan_json(capsys, *words)
    assert found["schema"] == "kvtop.frontier/1"
    assert found["current"] == {"cache_type": "f16/f16", "amount": 2048}
    rows = {row["cache_type"]: row for row in found["rows"]}
    assert rows["f16/f16"]["largest"] == 4096
    assert "does not divide" in rows["q8_0/q8_0"]["refusal"]
    for cell in rows["bf16/bf16"]["cells"]:
        typed = [word for name, value in cell["changes"].items() for word in (f"--{name}", value)]
        planned = plan_json(capsys, *words[1:], *typed)
        assert cell["fit"] == planned["devices"][0]["fit"]
    code, text, _ = plan(capsys, *words)
    assert code == 0
    assert "[fits]" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_frontier_of_a_refused_command_is_a_refusal(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--gpu", "none", "--frontier", "--", "llama-server", "-m", str(model), "-fa", "off", "-ctv", "q8_0")
    code, _, err = plan(capsys, *words)
    assert code == 3
    assert "quantized V cache requires flash_attn" in err


def _with_side_files(folder: Path) -> tuple[Path, Path]:
    lora, projector = folder / "lora.gguf", folder / "mmproj.gguf"
    for path, architecture in ((lora, "llama"), (projector, "clip")):
        writer = gguf.GGUFWriter(path, architecture)
        if path is lora:
            writer.add_type("adapter")
            writer.add_string("adapter.type", "lora")
            writer.add_tensor("blk.1.attn_q.weight.lora_a", np.zeros((8, 64), dtype=np.float32))
            writer.add_tensor("blk.1.attn_q.weight.lora_b", np.zeros((64, 8), dtype=np.float32))
        else:
            writer.add_tensor("v.patch_embd.weight", np.zeros((1024,), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return lora, projector


def test_adapters_and_projector_are_part_of_the_plan(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora, projector = _with_side_files(model.parent)
    command = ("--gpu", "8GiB", "--", "llama-server", "-m", str(model), "-c", "2048")
    bare = plan_json(capsys, *command)
    whole = plan_json(capsys, *command, "--lora", str(lora), "--mmproj", str(projector))
    assert whole["devices"][0]["weights_bytes"] - bare["devices"][0]["weights_bytes"] == 2 * 64 * 8 * 4 + 4096
    assert whole["devices"][1] == bare["devices"][1]
    assert any("compute buffers are not" in warning for warning in whole["warnings"])
    code, out, _ = plan(capsys, "--json", *command, "--lora", str(model))
    assert code == 3
    assert "expect general.type to be 'adapter'" in json.loads(out)["error"]["message"]
    code, _, err = plan(capsys, *command, "--mmproj", str(model.parent / "none.gguf"))
    assert (code, "none.gguf: no such file" in err) == (2, True)


def test_a_model_in_a_container_is_read_where_it_is_mounted_from(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("docker", "run", "--gpus", "all", "-v", f"{model.parent}:/models", "ghcr.io/ggml-org/llama.cpp:server-cuda")
    found = plan_json(capsys, "--gpu", "8GiB", "--", *run, "-m", f"/models/{model.name}", "-c", "2048")
    assert found["model"] == "Tiny"
    code, _, err = plan(capsys, "--gpu", "8GiB", "--", *run, "-m", "/models/none.gguf")
    assert (code, f"{model.parent}/none.gguf: no such file" in err) == (2, True)


def test_typed_visible_devices_choose_among_the_given_ones(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--gpu", "8GiB", "--gpu", "16GiB", "--", "CUDA_VISIBLE_DEVICES=1", "llama-server", "-m", str(model))
    found = plan_json(capsys, *words)
    assert [(part["name"], part["available_bytes"]) for part in found["devices"]] == [
        ("gpu0", 16 * 2**30),
        ("host", None),
    ]


def test_a_repository_brings_its_projector_and_wins_over_a_path(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, projector = _with_side_files(model.parent)
    hub = model.parent / "hub"
    monkeypatch.setenv("LLAMA_CACHE", str(hub))
    snapshot = hub / "models--u--r" / "snapshots" / ("0123456789" * 4)
    snapshot.mkdir(parents=True)
    (hub / "models--u--r" / "refs").mkdir()
    (hub / "models--u--r" / "refs" / "main").write_text("0123456789" * 4)
    (snapshot / "tiny-Q4_K_M.gguf").symlink_to(model)
    (snapshot / "mmproj-F16.gguf").symlink_to(projector)
    command = ("--gpu", "none", "--", "llama-server", "-hf", "u/r", "-c", "2048")
    alone = plan_json(capsys, *command, "--no-mmproj")["total"]["weights_bytes"]
    assert plan_json(capsys, *command)["total"]["weights_bytes"] == alone + 4096
    assert plan_json(capsys, *command, "-m", "none.gguf")["total"]["weights_bytes"] == alone + 4096
    (snapshot / "mtp-tiny.gguf").symlink_to(model)
    code, _, err = plan(capsys, *command, "--spec-type", "draft-mtp")
    assert (code, "no memory rule for mtp-tiny.gguf" in err) == (4, True)


def _tight_size(found: dict[str, Any]) -> int:
    """A memory size between the likely need of gpu0 and the high end of the estimate."""
    part = found["devices"][0]
    exact = sum(part[key] for key in ("weights_bytes", "kv_cache_bytes", "recurrent_state_bytes", "output_bytes"))
    compute = part["compute_bytes"]
    assert compute["value"] < compute["high"]
    return int(exact + (compute["value"] + compute["high"]) // 2)


def test_a_plan_is_a_gate(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 fits, 1 does not, 1 too at the low end of the estimate unless that is allowed."""
    command = ("--", "llama-server", "-m", str(model), "-c", "4096", "-fit", "off")
    found = plan_json(capsys, "--gpu", "24GiB", *command)
    tight = f"{_tight_size(found)}B"
    code, text, _ = plan(capsys, "--gpu", tight, *command)
    assert code == 1
    assert "fits unless the estimate is at its high end" in text
    assert plan(capsys, "--gpu", tight, "--allow-tight", *command)[0] == 0
    assert plan(capsys, "--gpu", "1MiB", "--allow-tight", *command)[0] == 1


def test_the_grid_of_contexts_is_a_gate_too(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--", "llama-server", "-m", str(model), "-c", "4096")
    assert plan(capsys, "--frontier", "--gpu", "24GiB", *command)[0] == 0
    code, text, _ = plan(capsys, "--frontier", "--gpu", "1MiB", *command)
    assert (code, "no" in text) == (1, True)


def test_a_pool_that_is_too_small_is_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(_with_weights(_vllm_model(tmp_path / "model")))
    words = ("--gpu", "24GiB", "--", "vllm", "serve", directory, "--gpu-memory-utilization")
    assert plan(capsys, *words, "0.002")[0] == 3
    assert plan(capsys, *words, "0.5")[0] == 0


def test_memory_that_nobody_stated_opens_no_gate() -> None:
    """A driver that names a card and not its memory; the host of another machine is not judged."""
    part = share("gpu0", 1, 1, 0, Figure.computed(1))
    planned = MemoryPlan("llama.cpp", "", "", "", (part, replace(part, name="host")), 1.0, ())
    host = device_fit(replace(part, name="host"), None)
    code, sentence = gate(PlanAnswer(planned, (device_fit(part, None), host)), allow_tight=True)
    assert code == 1
    assert sentence.startswith("whether it fits is not known: ")
    assert gate(PlanAnswer(planned, (device_fit(part, Room(100)), host)), allow_tight=False) == (0, "")
    assert gate(PlanAnswer(planned, (device_fit(part, Room(1)), host)), allow_tight=False) == (1, "")
    assert gate(PlanAnswer(planned, (host,)), allow_tight=False)[0] == 1


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("docker run -d ollama/ollama", "Ollama"),
        ("python3 -m sglang.launch_server --model-path x", "SGLang"),
        ("docker run --gpus all lmsysorg/sglang:latest python3 -m sglang.launch_server --model-path x", "SGLang"),
        ("sglang serve x", "SGLang"),
        ("sudo ./llama-cli -m x.gguf", "llama-cli"),
        ("llama cli -m x.gguf", "llama cli"),
        ("python -m llama_cpp.server --model x", "llama-cpp-python"),
        ("./model.llamafile --server", "llamafile"),
        ("python koboldcpp.py --model x", "koboldcpp"),
        ("text-generation-launcher --model-id x", "text-generation-inference"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "lint", "recommend", "quality"])
def test_a_known_engine_without_rules_is_no_rule(
    verb: str, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--", *command.split()]) == 4
    captured = capsys.readouterr()
    assert captured.err.startswith(f"kvtop {verb}: no ")
    assert f"kvtop has no memory rules for {name} (it plans llama-server" in captured.err
    assert captured.err.count("\n") == 1


def test_an_option_of_kvtop_behind_the_dashes_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hint = "(--json is an option of kvtop: put it before the --)"
    code, _, err = plan(capsys, "--gpu", "none", "--", "llama-server", "-m", str(model), "--json")
    assert (code, hint in err) == (3, True)
    directory = str(_with_weights(_vllm_model(tmp_path / "model")))
    code, _, err = plan(capsys, "--gpu", "24GiB", "--", "vllm", "serve", directory, "--json")
    assert (code, hint in err) == (3, True)
    assert main(["recommend", "--gpu", "4GiB", "--", "llama-server", "-m", str(model), "--users", "2"]) == 3
    assert "(--users is an option of kvtop" in capsys.readouterr().err


def test_bytes_that_may_be_off_are_estimated(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--", "llama-server", "-m", str(model), "-c", "2048")
    found = plan_json(capsys, "--gpu", "8GiB,backend=vulkan", *command)
    card, host = found["devices"]
    assert (card["basis"], host["basis"]) == ("estimated", "computed")
    assert card["ranges"]["weights_bytes"]["low"] <= card["weights_bytes"] <= card["ranges"]["weights_bytes"]["high"]
    assert host["ranges"] is None
    _, text, _ = plan(capsys, "--gpu", "8GiB,backend=vulkan", *command)
    on_card = text.partition("host")[0]
    assert "estimated" in on_card
    assert "computed" not in on_card


@pytest.mark.usefixtures("model")
def test_a_plan_says_that_lint_has_something_to_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--gpu", "24GiB", "--", "llama-server", "-m", "tiny.gguf", "-c", "2048")
    _, quiet, _ = plan(capsys, *words)
    assert "kvtop lint" not in quiet
    _, text, _ = plan(capsys, *words, "--api-key", "hunter2")
    *_, line = text.splitlines()
    assert line == "1 warning: kvtop lint --gpu 24GiB -- …"
    _, text, _ = plan(capsys, "--gpu", "24GiB", "--", "llama-server", "-m", "tiny.gguf", "-c", "32k")
    assert text.splitlines()[-1] == "1 warning: kvtop lint --gpu 24GiB -- llama-server -m tiny.gguf -c 32k"
    (tmp_path / "config" / "kvtop").mkdir(parents=True)
    (tmp_path / "config" / "kvtop" / "config.toml").write_text('[lint]\nselect = ["low-bit-keys"]\n', encoding="utf-8")
    _, text, _ = plan(capsys, "--gpu", "24GiB", "--", "llama-server", "-m", "tiny.gguf", "-c", "32k")
    assert "kvtop lint" not in text
    assert "kvtop lint" not in plan(capsys, "--json", *words, "--api-key", "hunter2")[1]


def test_what_is_no_mlx_server_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("ollama serve", "make coffee", "llama-server -m x", ""):
        assert main(["wrap", "--", *command.split()]) == 2
        err = capsys.readouterr().err
        assert err.startswith("kvtop wrap: ")
        assert err.count("\n") == 1


def test_a_removed_option_is_planned_as_it_was_meant(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--", "llama-server", "-m", str(model), "-c", "2048", "--no-mmap")
    found = plan_json(capsys, "--gpu", "8GiB", *command)
    assert found["refusal"] is None
    assert any("--load-mode none" in note for note in found["notes"])
    code, out, err = plan(capsys, "--gpu", "8GiB", "--engine-version", "b11434", *command)
    assert code == 3
    assert "total" in out
    assert "error: invalid argument: --no-mmap" in err
    code, out, _ = plan(capsys, "--gpu", "8GiB", "--engine-version", "b10236", *command)
    assert (code, "--load-mode" in out) == (0, False)
