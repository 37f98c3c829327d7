"""Groups and pools by the arithmetic of the facts, small enough to check by hand."""

import pytest

from kvtop.planning.vllm.pool.pool import Stage, size_pool
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.groups import group_layers
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, RequestTerms, SpecKind, blocks_per_request

FULL = LayerSpec(SpecKind.FULL, 16, 512, 8, 8, 128, 128, "bfloat16")
WINDOW = LayerSpec(SpecKind.SLIDING, 16, 512, 8, 8, 128, 128, "bfloat16", window=1024)
STATE = LayerSpec(SpecKind.MAMBA, 16, 60_000, prefill_checkpoints=1, dcp_sharded=False)


def test_five_windows_to_one_full_layer_are_dealt_into_groups_of_the_smaller_bucket() -> None:
    """Gemma-3-27b: 10 full and 52 windowed layers make one group and six, the widest of ten layers."""
    specs = tuple(FULL if index % 6 == 5 else WINDOW for index in range(62))
    groups = group_layers(specs)
    assert [len(group.layers) for group in groups] == [9, 9, 9, 9, 8, 8, 10]
    assert groups[0].layers[:3] == (0, 7, 14)
    assert max(group.bytes_per_block for group in groups) == 10 * 16 * 8 * 512


def test_nearly_equal_buckets_are_padded_not_split() -> None:
    groups = group_layers((FULL,) * 13 + (WINDOW,) * 12)
    assert [len(group.layers) for group in groups] == [13, 12]


def test_without_the_hybrid_manager_windows_are_kept_for_all_tokens() -> None:
    (group,) = group_layers((FULL, WINDOW, WINDOW), hybrid=False)
    assert len(group.layers) == 3
    assert blocks_per_request(group.head, RequestTerms(32768, 8192)) == 2048


def test_smaller_pages_get_longer_blocks() -> None:
    wide = LayerSpec(SpecKind.FULL, 16, 1024, 8, 8, 256, 256, "bfloat16")
    full, window = group_layers((wide, WINDOW))
    assert (full.head.block_size, window.head.block_size) == (16, 32)
    assert full.bytes_per_block == window.bytes_per_block


def test_state_is_padded_to_the_attention_page() -> None:
    attention, state = group_layers((FULL, STATE))
    assert state.bytes_per_block == attention.bytes_per_block == 16 * 8 * 512
    assert state.blocks_per_request(RequestTerms(32768, 8192, mamba_align=True)) == 3
    assert state.blocks_per_request(RequestTerms(32768, 8192, mamba_align=False)) == 1


def test_latent_pages_cannot_be_padded() -> None:
    latent = LayerSpec(SpecKind.MLA, 16, 1152, storage="bfloat16")
    with pytest.raises(StartRefusedError, match="Padding is only supported for non-MLA"):
        group_layers((latent, WINDOW))


def test_the_reserved_block_does_not_count_for_the_first_request() -> None:
    """Exactly what a request needs is one block too little."""
    groups = group_layers((FULL,) * 2)
    page = 2 * 16 * 8 * 512
    terms = RequestTerms(1024, 8192)
    with pytest.raises(StartRefusedError, match=r"estimated maximum model length is 1008\."):
        size_pool((Stage(groups, 64 * page),), terms)
    pool = size_pool((Stage(groups, 65 * page),), terms)
    assert (pool.num_blocks, pool.tokens, pool.max_concurrency) == (65, 1040, 65 / 64)


def test_the_longest_length_that_fits() -> None:
    groups = group_layers((FULL,) * 2)
    page = 2 * 16 * 8 * 512
    pool = size_pool((Stage(groups, 33 * page),), RequestTerms(131072, 8192), fit_length=True)
    assert pool.max_model_len == 512
