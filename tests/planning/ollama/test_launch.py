"""What Ollama starts, by ollama v0.33.0-rc2's own rules; the numbers in the cases are those of its source."""

from dataclasses import replace
from typing import Any

import pytest

from kvtop.domain.model_file import GgufHeader, StoredModel, TensorInfo
from kvtop.domain.plan import NoExactRuleError, PlanDevice
from kvtop.planning.ollama.builds import BUILDS, build_of
from kvtop.planning.ollama.commands import model_of, started_by
from kvtop.planning.ollama.launch import OpenedModel, Started, started_server

GIB, MIB = 1 << 30, 1 << 20
FIELDS = {"block_count": 32, "embedding_length": 4096, "context_length": 131072}
HEADS = {"attention.head_count": 32, "attention.head_count_kv": 8}


def header(size_bytes: int = 4 * GIB, tensors: tuple[TensorInfo, ...] = (), **changed: int) -> GgufHeader:
    fields = {**FIELDS, **HEADS, **changed}
    metadata = {"general.architecture": "llama"} | {f"llama.{name}": value for name, value in fields.items()}
    return GgufHeader("/blob", 3, False, metadata, tensors, size_bytes)


def loaded(read: GgufHeader | None = None, projector_bytes: int = 0, draft: str = "", **stored: Any) -> OpenedModel:  # noqa: ANN401 -- parameters are JSON
    model = StoredModel(
        "m",
        "/blob",
        projector_path="/projector" if projector_bytes else None,
        draft_path="/draft" if draft else None,
        family=stored.pop("family", "llama"),
        parameters=stored,
    )
    return OpenedModel(model, read or header(), projector_bytes, draft)


def card(total: int, free: int | None = None, **more: Any) -> PlanDevice:  # noqa: ANN401 -- fields of PlanDevice
    return replace(PlanDevice("gpu0", total * GIB, None if free is None else free * GIB), **more)


def value(started: Started, option: str) -> str | None:
    words = started.words
    return words[words.index(option) + 1] if option in words else None


@pytest.mark.parametrize(
    ("cards", "context"),
    [((), "4096"), ((22,), "4096"), ((23,), "32768"), ((46,), "32768"), ((47,), "131072"), ((24, 24), "131072")],
)
def test_the_context_goes_by_the_memory_of_all_cards(cards: tuple[int, ...], context: str) -> None:
    """At 47 GiB it wants 262144, and never more than the training."""
    assert value(started_server(loaded(), [card(it) for it in cards], {}), "-c") == context


@pytest.mark.parametrize(
    ("environ", "parameters", "context", "slots"),
    [
        ({"OLLAMA_CONTEXT_LENGTH": "8192"}, {}, "8192", "1"),
        ({"OLLAMA_CONTEXT_LENGTH": " '8192' "}, {}, "8192", "1"),
        ({"OLLAMA_CONTEXT_LENGTH": "8192"}, {"num_ctx": 2048}, "2048", "1"),
        ({"OLLAMA_CONTEXT_LENGTH": "0"}, {}, "32768", "1"),
        ({"OLLAMA_CONTEXT_LENGTH": "2"}, {}, "4", "1"),
        ({"OLLAMA_CONTEXT_LENGTH": "999999"}, {}, "131072", "1"),
        ({"OLLAMA_CONTEXT_LENGTH": "words"}, {}, "32768", "1"),
        ({"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_CONTEXT_LENGTH": "4096"}, {}, "16384", "4"),
        ({"OLLAMA_NUM_PARALLEL": "4"}, {"num_ctx": 4096, "family": "qwen35"}, "4096", "1"),
        ({"OLLAMA_GPU_OVERHEAD": str(2 * GIB)}, {}, "4096", "1"),
    ],
)
def test_context_and_slots(environ: dict[str, str], parameters: dict[str, Any], context: str, slots: str) -> None:
    started = started_server(loaded(**parameters), [card(24)], environ)
    assert (value(started, "-c"), value(started, "-np")) == (context, slots)


def test_a_card_of_unknown_size_has_no_context() -> None:
    unknown = replace(card(24), total_bytes=None)
    with pytest.raises(NoExactRuleError, match="size of the cards"):
        started_server(loaded(), [unknown], {})
    assert value(started_server(loaded(num_ctx=4096), [unknown], {}), "-c") == "4096"


@pytest.mark.parametrize(
    ("context", "free", "batch"),
    [
        (4096, 24, "512"),
        (4097, 24, "1024"),
        (32768, 24, "1024"),
        (32769, 24, "2048"),
        (32769, 12, "1024"),
        (32769, 6, "512"),
    ],
)
def test_the_batch_goes_by_context_and_room(context: int, free: int, batch: str) -> None:
    """4 GiB of weights and 128 KiB a token: 8.0 GiB at 32769, which is 67 % of 12 GiB and more than all of 6."""
    started = started_server(loaded(num_ctx=context), [card(24, free)], {})
    assert value(started, "-b") == value(started, "-ub") == batch


def test_without_flash_attention_the_batch_is_small() -> None:
    old = card(8, compute_capability=(5, 2))
    started = started_server(loaded(num_ctx=4097), [old], {})
    assert (value(started, "--flash-attn"), value(started, "-b")) == ("off", "256")
    assert value(started_server(loaded(num_ctx=4096), [old], {}), "-b") == "512"
    assert value(started_server(loaded(num_ctx=4097), [card(9, compute_capability=(5, 2))], {}), "-b") == "512"
    assert value(started_server(loaded(num_ctx=4097, num_batch=64), [old], {}), "-ub") == "64"


@pytest.mark.parametrize(
    ("device", "environ", "flash"),
    [
        ({"compute_capability": (8, 9)}, {}, "auto"),
        ({"compute_capability": (6, 0)}, {}, "auto"),
        ({"compute_capability": (7, 2)}, {}, "off"),
        ({"compute_api": "vulkan", "compute_capability": None}, {}, "auto"),
        ({"compute_api": "sycl", "compute_capability": None}, {}, "off"),
        ({"compute_api": "sycl", "compute_capability": None}, {"OLLAMA_FLASH_ATTENTION": "1"}, "on"),
        ({}, {"OLLAMA_FLASH_ATTENTION": "false"}, "off"),
    ],
)
def test_flash_attention(device: dict[str, Any], environ: dict[str, str], flash: str) -> None:
    assert value(started_server(loaded(), [card(24, **device)], environ), "--flash-attn") == flash


def test_one_card_is_used_where_it_takes_the_model() -> None:
    cards = [card(12), replace(card(24), name="gpu1")]
    assert value(started_server(loaded(num_ctx=4096), cards, {}), "--main-gpu") == "1"
    assert value(started_server(loaded(num_ctx=4096), cards, {"OLLAMA_SCHED_SPREAD": "1"}), "--main-gpu") is None
    assert value(started_server(loaded(num_ctx=4096, num_gpu=0), cards, {}), "--main-gpu") is None
    assert value(started_server(loaded(num_ctx=4096, main_gpu=0), cards, {}), "--main-gpu") == "0"
    # 4.5 GiB at 4096 tokens: 80 % of 5.625 GiB hold it, a byte less does not.
    enough = 5 * GIB + 640 * MIB
    for free, used in ((enough, "0"), (enough - 2, None)):
        pair = [replace(card(12), free_bytes=free), replace(card(12), name="gpu1", free_bytes=GIB)]
        assert value(started_server(loaded(num_ctx=4096), pair, {}), "--main-gpu") == used


def test_a_projector_gets_a_margin_or_stays_on_the_host() -> None:
    started = started_server(loaded(projector_bytes=GIB // 2 + 1), [card(24)], {})
    assert value(started, "--mmproj") == "/projector"
    assert started.variables == (("LLAMA_ARG_FIT_TARGET", "1537"),)
    kept = started_server(loaded(projector_bytes=GIB), [card(24)], {"LLAMA_ARG_FIT_TARGET": "99"})
    assert kept.variables == ()
    for parameters in ({"num_gpu": 0}, {"num_gpu": 32}):
        assert "--no-mmproj-offload" in started_server(loaded(None, GIB, "", **parameters), [card(24)], {}).words
    assert "--no-mmproj-offload" not in started_server(loaded(None, GIB, num_gpu=33), [card(24)], {}).words
    assert "--no-mmproj-offload" in started_server(loaded(projector_bytes=GIB), [card(24, 1)], {}).words
    assert value(started_server(loaded(None, GIB, num_ctx=512), [card(24)], {}), "-c") == "2048"


def test_drafts() -> None:
    mtp = header(nextn_predict_layers=1)
    assert value(started_server(loaded(mtp), [card(24)], {}), "--spec-type") is None
    assert value(started_server(loaded(mtp, draft_num_predict=2), [card(24)], {}), "--spec-draft-n-max") == "2"
    assert value(started_server(loaded(draft_num_predict=2), [card(24)], {}), "--spec-type") is None
    beside = started_server(loaded(draft="dflash"), [card(24)], {})
    assert (value(beside, "--spec-type"), value(beside, "--spec-draft-n-max")) == ("draft-dflash", "4")
    assert value(started_server(loaded(draft="qwen35"), [card(24)], {}), "--spec-type") == "draft-mtp"
    assert value(started_server(loaded(draft="dflash", draft_num_predict=0), [card(24)], {}), "--spec-type") is None


def test_an_embedding_model_has_one_slot_and_its_own_batch() -> None:
    started = started_server(loaded(header(pooling_type=1), num_ctx=1024), [card(24)], {"OLLAMA_NUM_PARALLEL": "4"})
    assert (value(started, "-np"), value(started, "-b")) == ("1", "1024")
    assert "--embedding" in started.words


def test_a_projector_inside_the_model_has_no_rule() -> None:
    inside = header(tensors=(TensorInfo("v.patch_embd.weight", 0, "f32", (1,), 4),))
    with pytest.raises(NoExactRuleError, match="inside the model file"):
        started_server(loaded(inside), [card(24)], {})


def test_cache_types_adapters_and_layers() -> None:
    stored = StoredModel("m", "/blob", adapter_paths=("/a", "/b"), parameters={"num_gpu": 7, "use_mmap": False})
    started = started_server(OpenedModel(stored, header()), [card(24)], {"OLLAMA_KV_CACHE_TYPE": "Q8_0"})
    assert value(started, "--cache-type-k") == value(started, "--cache-type-v") == "q8_0"
    assert value(started, "-ngl") == "7"
    assert value(started, "--load-mode") == "none"
    assert [word for at, word in enumerate(started.words) if started.words[at - 1] == "--lora"] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("version", "build"),
    [
        ("0.29.9", None),
        ("0.30.0", "b9452"),
        ("0.30.3", "b9479"),
        ("0.32.7", "b10242"),
        ("0.33.0-rc2", "b10488"),
        ("x", None),
    ],
)
def test_the_build_of_a_version(version: str, build: str | None) -> None:
    assert build_of(version) == build


def test_builds_are_in_order() -> None:
    numbers = [int(build[1:]) for _, build in BUILDS]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("run llama3.2:3b", "llama3.2:3b"),
        ("run --verbose llama3.2 why", "llama3.2"),
        ("run --keepalive 5m --format json llama3.2", "llama3.2"),
        ("run --think=false llama3.2", "llama3.2"),
        ("run", None),
        ("serve", None),
    ],
)
def test_the_model_that_is_run(words: str, model: str | None) -> None:
    assert model_of(words.split()) == model


def test_other_words_of_ollama_start_nothing() -> None:
    assert started_by(["ollama", "pull", "x"]) is None
    assert started_by(["ollama"]) is None
    assert started_by(["llama-server"]) is None
