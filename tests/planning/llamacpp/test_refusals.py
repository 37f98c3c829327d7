"""Options that the engine does not start with, and heads without a kernel."""

from dataclasses import replace

import pytest

from kvtop.domain.plan import NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.context import request_of
from kvtop.planning.llamacpp.flash_attention import cuda_has_kernel, has_fused_attention, resolve_flash_attention
from kvtop.planning.llamacpp.memory.placement import Placement, place
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model.loading import load_hparams
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.refusals import context_refusal
from kvtop.planning.llamacpp.rules.architectures import ARCHITECTURES
from tests.oracle.cases import Oracle

CARD = (PlanDevice("gpu0", 80 * 2**30),)


@pytest.fixture(scope="module")
def llama(oracle: Oracle) -> HParams:
    return load_hparams(oracle.headers["llama-3.1-8b"])


def _complaint(hparams: HParams, settings: LlamaSettings) -> str | None:
    refusal = context_refusal(hparams, request_of(settings, hparams), settings.flash_attention)
    assert refusal is None or isinstance(refusal, Refusal)
    return None if refusal is None else refusal.message


def test_quantized_values_need_flash_attention(llama: HParams) -> None:
    off = LlamaSettings(type_v="q4_0", flash_attention="off")
    assert _complaint(llama, off) == "llama_init_from_model: quantized V cache requires flash_attn to be enabled"
    assert _complaint(llama, replace(off, flash_attention="auto")) is None
    assert _complaint(llama, LlamaSettings(type_k="q4_0", flash_attention="off")) is None
    grok = replace(llama, traits=ARCHITECTURES["grok"])
    assert "requires flash_attn" in (_complaint(grok, LlamaSettings(type_v="q8_0")) or "")


def test_blocks_must_not_straddle_heads(llama: HParams) -> None:
    odd = replace(llama, n_embd_head_k=(80,) * 32, n_embd_head_v=(80,) * 32)
    words = "K cache type q8_0 with block size 32 does not divide n_embd_head_k=80"
    assert _complaint(odd, LlamaSettings(type_k="q8_0")) == f"llama_init_from_model: {words}"
    assert "n_embd_head_v=80" in (_complaint(odd, LlamaSettings(type_v="q8_0")) or "")
    assert _complaint(odd, LlamaSettings(type_k="q8_0", flash_attention="off")) is None


def test_tensor_parallelism_is_refused_where_the_engine_refuses_it(oracle: Oracle) -> None:
    settings = LlamaSettings(split_mode="tensor", ctx_tokens=4096, fit=False)

    def answer(model: str, settings: LlamaSettings, devices: tuple[PlanDevice, ...] = CARD) -> str:
        found = plan(oracle.headers[model], settings, devices)
        assert isinstance(found, Refusal)
        return found.message

    assert answer("llama-3.1-8b", settings, ()) == (
        "llama_prepare_model_devices: LLAMA_SPLIT_MODE_TENSOR needs >= 1 devices"
    )
    assert answer("llama-3.1-8b", replace(settings, devices=("none",))).endswith("needs >= 1 devices")
    assert answer("mamba2-2.7b", settings).endswith("not implemented for architecture 'mamba2'")
    assert answer("llama-3.1-8b", replace(settings, flash_attention="off")) == (
        "llama_init_from_model: SPLIT_MODE_TENSOR requires flash_attn to be enabled"
    )
    with pytest.raises(NoExactRuleError, match="split-mode tensor"):
        plan(oracle.headers["llama-3.1-8b"], settings, CARD)


def test_latent_attention_has_one_type(oracle: Oracle) -> None:
    hparams = load_hparams(oracle.headers["deepseek-v2-lite"])
    assert "different K (q8_0) and V (f16)" in (_complaint(hparams, LlamaSettings(type_k="q8_0")) or "")


def test_types_and_sequence_counts_are_limited(llama: HParams) -> None:
    assert "Unsupported cache type: q6_K" in (_complaint(llama, LlamaSettings(type_k="q6_K")) or "")
    assert "n_seq_max must be <= 256" in (_complaint(llama, LlamaSettings(parallel=257)) or "")
    assert _complaint(llama, LlamaSettings(parallel=256)) is None
    nothing = LlamaSettings(batch_tokens=0, ubatch_tokens=0)
    assert _complaint(llama, nothing) == "llama_init_from_model: n_batch and n_ubatch cannot both be zero"
    fewer = "GGML_ASSERT(n_outputs_max <= cparams.n_outputs_max) failed"
    assert _complaint(llama, LlamaSettings(batch_tokens=3)) == fewer
    assert _complaint(llama, LlamaSettings(batch_tokens=4)) is None
    assert _complaint(llama, LlamaSettings(batch_tokens=1, parallel=1)) is None
    assert _complaint(llama, LlamaSettings(ubatch_tokens=3, embeddings=True)) == fewer
    assert _complaint(llama, LlamaSettings(batch_tokens=0, parallel=1)) == "GGML_ASSERT(n_outputs >= 1) failed"
    untrained = replace(llama, n_ctx_train=0)
    assert "cannot both be zero" in (_complaint(untrained, LlamaSettings()) or "")


@pytest.mark.parametrize(
    ("length_k", "length_v", "group", "alibi", "expected"),
    [
        (128, 128, 1, False, True),
        (32, 32, 1, False, False),
        (128, 64, 4, False, False),
        (192, 128, 8, False, True),
        (192, 128, 1, False, False),
        (320, 256, 32, False, True),
        (512, 512, 2, False, True),
        (512, 512, 1, False, False),
        (576, 512, 16, False, True),
        (576, 512, 16, True, False),
        (160, 160, 4, False, False),
    ],
)
def test_kernels_of_cuda(length_k: int, length_v: int, group: int, alibi: bool, expected: bool) -> None:
    assert cuda_has_kernel(length_k, length_v, group, alibi) is expected


def _placement(hparams: HParams, devices: tuple[PlanDevice, ...]) -> Placement:
    placement = place(hparams.n_layer_all, LlamaSettings(), devices, None)
    assert isinstance(placement, Placement)
    return placement


def test_a_missing_kernel_matters_only_on_a_cuda_device(llama: HParams) -> None:
    odd = replace(llama, n_embd_head_k=(100,) * 32, n_embd_head_v=(100,) * 32)
    assert not has_fused_attention(odd, _placement(odd, CARD), CARD, ("f16", "f16"))
    assert has_fused_attention(odd, _placement(odd, ()), (), ("f16", "f16"))
    assert not has_fused_attention(llama, _placement(llama, CARD), CARD, ("iq4_nl", "f16"))


def test_what_auto_becomes(llama: HParams) -> None:
    assert resolve_flash_attention(llama, "auto", v_is_quantized=False, has_kernel=True)
    assert not resolve_flash_attention(llama, "auto", v_is_quantized=False, has_kernel=False)
    # A quantized V forces it on without looking for a kernel.
    assert resolve_flash_attention(llama, "auto", v_is_quantized=True, has_kernel=False)
    assert resolve_flash_attention(llama, "on", v_is_quantized=False, has_kernel=False)
    assert not resolve_flash_attention(
        replace(llama, traits=ARCHITECTURES["grok"]), "on", v_is_quantized=False, has_kernel=True
    )


def test_sizes_that_wrap_to_nothing_abort_the_engine(llama: HParams) -> None:
    """Seen with llama-server b11434: `-c -1`, `-c -255 -np 1`, `-b 0`."""
    assert _complaint(llama, LlamaSettings(ctx_tokens=-1)) == "GGML_ASSERT(n_outputs >= 1) failed"
    assert "n_ctx_seq == 0" in (_complaint(llama, LlamaSettings(ctx_tokens=-255, parallel=1)) or "")
    assert "n_outputs_max" in (_complaint(llama, LlamaSettings(batch_tokens=0)) or "")
    assert _complaint(llama, LlamaSettings(ctx_tokens=-256)) is None
    assert _complaint(llama, LlamaSettings(ubatch_tokens=0)) is None
