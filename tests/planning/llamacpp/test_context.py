"""How options become the effective context."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.planning.llamacpp.context import ResolvedContext, request_of, resolve_context
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model.loading import load_hparams
from kvtop.planning.llamacpp.options.settings import DraftSettings, LlamaSettings
from tests.oracle.cases import Oracle


@pytest.fixture(scope="module")
def llama(oracle: Oracle) -> HParams:
    return load_hparams(oracle.headers["llama-3.1-8b"])


@pytest.fixture(scope="module")
def gemma(oracle: Oracle) -> HParams:
    return load_hparams(oracle.headers["gemma-3-27b"])


def _resolve(hparams: HParams, settings: LlamaSettings) -> ResolvedContext:
    return resolve_context(request_of(settings, hparams), hparams, flash_attention=True)


def test_no_options_mean_four_slots_over_one_trained_context(llama: HParams) -> None:
    context = _resolve(llama, LlamaSettings())
    assert (context.n_ctx, context.n_ctx_seq, context.n_seq_max, context.n_stream) == (131072, 131072, 4, 1)
    assert context.kv_unified


def test_automatic_slots_are_unified_whatever_the_flag_says(llama: HParams) -> None:
    assert _resolve(llama, LlamaSettings(kv_unified=False)).kv_unified


def test_given_slots_are_not_unified_unless_asked(llama: HParams) -> None:
    apart = _resolve(llama, LlamaSettings(ctx_tokens=32768, parallel=4))
    assert (apart.n_ctx_seq, apart.n_stream) == (8192, 4)
    together = _resolve(llama, LlamaSettings(ctx_tokens=32768, parallel=4, kv_unified=True))
    assert (together.n_ctx_seq, together.n_stream) == (32768, 1)


def test_fit_gives_every_stream_the_trained_context_where_none_is_typed(llama: HParams) -> None:
    fitted = _resolve(llama, LlamaSettings(parallel=3))
    assert (fitted.n_ctx, fitted.n_ctx_seq, fitted.n_stream) == (3 * 131072, 131072, 3)
    shared = _resolve(llama, LlamaSettings(parallel=3, fit=False))
    assert (shared.n_ctx, shared.n_ctx_seq) == (131328, 43776)
    assert _resolve(llama, LlamaSettings(parallel=3, kv_unified=True)).n_ctx == 131072
    assert _resolve(llama, LlamaSettings(parallel=3, ctx_tokens=4096)).n_ctx == 4608


def test_pooling_makes_every_token_an_output_as_embeddings_do(llama: HParams) -> None:
    pooled = _resolve(llama, LlamaSettings(ctx_tokens=4096, is_pooled=True))
    assert (pooled.n_outputs_max, pooled.n_batch) == (2048, 2048)
    embedded = _resolve(llama, LlamaSettings(ctx_tokens=4096, embeddings=True))
    assert (embedded.n_outputs_max, embedded.n_batch) == (512, 512)


def test_streams_round_the_context_up_although_the_log_says_down(llama: HParams) -> None:
    context = _resolve(llama, LlamaSettings(ctx_tokens=10000, parallel=3))
    assert (context.n_ctx_seq, context.n_ctx) == (3584, 10752)


def test_cells_per_slot_size_the_pool_only_without_a_context(llama: HParams) -> None:
    sized = _resolve(llama, LlamaSettings(parallel=3, kv_unified=True, kv_unified_per_slot_tokens=4096))
    assert sized.n_ctx == 12288
    pinned = _resolve(
        llama, LlamaSettings(ctx_tokens=8192, parallel=3, kv_unified=True, kv_unified_per_slot_tokens=4096)
    )
    assert pinned.n_ctx == 8192


def test_batches_shrink_to_the_context_that_was_asked_for(llama: HParams) -> None:
    context = _resolve(llama, LlamaSettings(ctx_tokens=100, parallel=1))
    assert (context.n_ctx, context.n_batch, context.n_ubatch) == (256, 100, 100)


def test_negative_sizes_are_the_large_numbers_that_the_engine_takes_them_for(llama: HParams) -> None:
    """llama-fit-params b11434 plans `-ub -1` as `-ub 2048`, and `-c -256` as 4294967040 cells; never less than none."""
    context = _resolve(llama, LlamaSettings(ctx_tokens=-256, ubatch_tokens=-1))
    assert (context.n_ctx, context.n_batch, context.n_ubatch) == (2**32 - 256, 2048, 2048)
    assert _resolve(llama, LlamaSettings(ctx_tokens=8192, batch_tokens=-1)).n_batch == 8192
    assert _resolve(llama, LlamaSettings(ubatch_tokens=0)).n_ubatch == 2048


def test_embeddings_take_one_micro_batch_and_output_all_of_it(llama: HParams) -> None:
    context = _resolve(llama, LlamaSettings(ctx_tokens=4096, embeddings=True))
    assert (context.n_batch, context.n_outputs_max) == (512, 512)


def test_drafts_need_more_outputs_and_rollback_rows(oracle: Oracle, llama: HParams) -> None:
    drafting = LlamaSettings(parallel=2, draft=DraftSettings("draft.gguf"), speculative_types=("draft-simple",))
    drafted = _resolve(llama, drafting)
    assert (drafted.n_outputs_max, drafted.n_rs_seq) == (8, 0)
    # A draft model that no speculative type uses is loaded all the same, but adds no outputs.
    assert _resolve(llama, replace(drafting, speculative_types=())).n_outputs_max == 2
    hybrid = load_hparams(oracle.headers["qwen3.5-9b"])
    assert _resolve(hybrid, LlamaSettings(speculative_types=("draft-mtp",))).n_rs_seq == 3
    # Llama has no recurrent state to roll back.
    assert _resolve(llama, LlamaSettings(speculative_types=("draft-mtp",))).n_rs_seq == 0
    assert _resolve(llama, LlamaSettings(parallel=1, speculative_types=("ngram-mod",))).n_outputs_max == 65


def test_the_window_depends_on_slots_and_micro_batch(gemma: HParams) -> None:
    one = _resolve(gemma, LlamaSettings(ctx_tokens=32768, parallel=1))
    assert one.swa_cells == 1024 + 512
    four = _resolve(gemma, LlamaSettings(ctx_tokens=32768))
    assert four.swa_cells == 4 * 1024 + 512
    apart = _resolve(gemma, LlamaSettings(ctx_tokens=32768, parallel=4, kv_unified=False, ubatch_tokens=100))
    assert apart.swa_cells == 1280
    full = _resolve(gemma, LlamaSettings(ctx_tokens=32768, parallel=1, swa_full=True))
    assert full.swa_cells == 32768


@given(
    ctx_tokens=st.integers(1, 300_000),
    parallel=st.integers(1, 64),
    unified=st.booleans(),
)
def test_every_sequence_gets_whole_pads(llama: HParams, ctx_tokens: int, parallel: int, unified: bool) -> None:
    context = _resolve(llama, LlamaSettings(ctx_tokens=ctx_tokens, parallel=parallel, kv_unified=unified))
    assert context.n_ctx_seq % 256 == 0
    assert context.n_ctx == context.n_ctx_seq * context.n_stream
    assert context.n_ctx >= min(ctx_tokens, context.n_ctx_seq)
    assert context.n_ubatch <= context.n_batch <= ctx_tokens
