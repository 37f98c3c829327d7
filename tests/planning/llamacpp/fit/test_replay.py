"""The control flow of `--fit` over a memory that is only a formula: what the engine's integers do at their ends."""

import pytest

from kvtop.planning.llamacpp.fit.fitted import margins
from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer, FitStatus
from kvtop.planning.llamacpp.fit.replay.integers import DividedByZeroError, divided, step_between
from kvtop.planning.llamacpp.fit.replay.run import replay
from kvtop.planning.llamacpp.fit.replay.shares import Kept, Share, placed
from kvtop.planning.llamacpp.fit.replay.trial import FitModel, FitRequest, MeasuringError, Parameters, TrialMemory

_LAYERS, _LAYER, _CELL, _EXPERTS = 31, 100, 1, 80


def _measured(request: FitRequest, parameters: Parameters) -> TrialMemory:
    """32 layers of 100 units, 80 of them experts; a unit for each 100 cells; 1000 units on every card."""
    count = len(request.devices)
    layers = _LAYERS + 1 if parameters.gpu_layers < 0 else parameters.gpu_layers
    shares = [*parameters.tensor_split, *(0.0,) * count][:count]
    if not any(shares):
        shares = [1.0] * count
    without = {int(pattern.split(".")[1].rstrip("\\")) for pattern, _ in parameters.overrides if "d+" not in pattern}
    everywhere = any("d+" in pattern for pattern, _ in parameters.overrides)
    used, first = [], _LAYERS + 1 - layers
    for share in shares:
        mine = round(layers * share / sum(shares))
        moved = sum(1 for layer in range(first, first + mine) if everywhere or layer in without)
        used.append(mine * _LAYER - moved * _EXPERTS + mine * parameters.n_ctx // 100 // (_LAYERS + 1))
        first += mine
    weights = tuple(round(layers * share / sum(shares)) * _LAYER for share in shares)
    return TrialMemory(tuple(used), weights, (1000,) * count, host_used_bytes=parameters.n_ctx // 100)


def _replayed(
    parameters: Parameters, *, count: int = 1, margin: int = 100, experts: int = 0, trained: int = 131072, **more: int
) -> FitAnswer:
    request = FitRequest(
        FitModel(_LAYERS, trained, experts),
        tuple(f"CUDA{index}" for index in range(count)),
        (margin,) * max(count, 1),
        parameters,
        **more,  # type: ignore[arg-type]
    )
    return replay(request, lambda trial: _measured(request, trial))


def test_enough_room_changes_nothing() -> None:
    found = _replayed(Parameters(0), count=4, trained=4096)
    assert (found.status, found.parameters, found.tried) == (FitStatus.SUCCESS, Parameters(4096), ())


def test_one_card_of_a_dense_model_gets_as_many_layers_as_fit() -> None:
    found = _replayed(Parameters(0))
    assert found.parameters == Parameters(4096, 8)
    assert found.tried[-1].used_bytes[0] <= 900 or found.tried[-1].shares[0].n_layer == 9


def test_a_context_that_was_given_is_never_touched() -> None:
    assert _replayed(Parameters(8192)).parameters.n_ctx == 8192
    assert _replayed(Parameters(0), least_ctx=2**32 - 1).parameters.n_ctx == 131072


@pytest.mark.parametrize(
    ("parameters", "count", "words"),
    [
        (Parameters(0, 99), 1, "n_gpu_layers already set by user to 99"),
        (Parameters(0, -2), 1, "n_gpu_layers already set by user to -2"),
        (Parameters(0, -1, (2.0, 1.0)), 2, "model_params::tensor_split already set by user"),
        (Parameters(0, -1, (), (("x", "CPU"),)), 1, "model_params::tensor_buft_overrides already set by user"),
    ],
    ids=["layers", "all layers", "split", "override"],
)
def test_what_a_user_set_is_refused_after_the_context_was_cut(parameters: Parameters, count: int, words: str) -> None:
    def measure(trial: Parameters) -> TrialMemory:
        return TrialMemory((5000 + trial.n_ctx // 100,) * count, (5000,) * count, (1000,) * count)

    request = FitRequest(FitModel(_LAYERS, 131072, 0), ("CUDA0", "CUDA1")[:count], (100,) * count, parameters)
    found = replay(request, measure)
    assert (found.status, found.message, found.parameters.n_ctx) == (FitStatus.FAILURE, words, 4096)


def test_a_split_on_one_card_is_nobody_s_business() -> None:
    assert _replayed(Parameters(0, -1, (1.0,))).status is FitStatus.SUCCESS


def test_no_layer_asked_for_on_two_full_cards_ends_the_process() -> None:
    full = TrialMemory((2000, 2000), (0, 0), (1000, 1000))
    request = FitRequest(FitModel(_LAYERS, 131072, 0), ("CUDA0", "CUDA1"), (100, 100), Parameters(0, 0))
    assert replay(request, lambda _: full).status is FitStatus.DIED


def test_a_tensor_split_mode_is_refused_before_anything_is_measured() -> None:
    def measure(trial: Parameters) -> TrialMemory:
        raise AssertionError(trial)

    request = FitRequest(FitModel(_LAYERS, 131072, 0), ("CUDA0",), (100,), Parameters(0), split_mode="tensor")
    found = replay(request, measure)
    assert (found.status, found.message) == (
        FitStatus.FAILURE,
        "llama_params_fit is not implemented for SPLIT_MODE_TENSOR",
    )


def test_a_model_that_cannot_be_measured_is_an_error() -> None:
    def measure(trial: Parameters) -> TrialMemory:
        raise MeasuringError(f"failed to load model at {trial.n_ctx}")

    request = FitRequest(FitModel(_LAYERS, 131072, 0), ("CUDA0",), (100,), Parameters(0))
    found = replay(request, measure)
    assert (found.status, found.message) == (FitStatus.ERROR, "failed to load model at 0")


def test_without_a_card_all_of_the_host_s_memory_counts() -> None:
    kept = _replayed(Parameters(0), count=0, host_total_bytes=2000)
    assert (kept.status, kept.parameters) == (FitStatus.SUCCESS, Parameters(131072))
    cut = _replayed(Parameters(0), count=0, host_total_bytes=1000)
    # 900 units are 90000 cells, in steps of 256.
    assert (cut.status, cut.parameters) == (FitStatus.SUCCESS, Parameters(90112 - 256))
    failed = _replayed(Parameters(0), count=0, host_total_bytes=100)
    assert failed.message == "was unable to fit model into system memory by reducing context"


def test_success_does_not_require_that_anything_fits() -> None:
    request = FitRequest(FitModel(_LAYERS, 131072, 0), ("CUDA0",), (100,), Parameters(0))
    # A model whose layers take nothing: the step between two equal amounts.
    found = replay(request, lambda _: TrialMemory((3000,), (0,), (1000,)))
    assert (found.status, found.parameters.gpu_layers) == (FitStatus.DIED, -1)
    grows = replay(request, lambda trial: TrialMemory((3000 + trial.gpu_layers % 99,), (0,), (1000,)))
    assert (grows.status, grows.parameters.gpu_layers) == (FitStatus.SUCCESS, 0)


def test_experts_come_back_front_to_back() -> None:
    found = _replayed(Parameters(8192), count=2, experts=8)
    first, second = found.parameters.tensor_split
    assert first + second == _LAYERS + 1
    assert found.parameters.gpu_layers == _LAYERS + 1
    blocks = [int(pattern.split(".")[1].rstrip("\\")) for pattern, _ in found.parameters.overrides]
    # Counted as if the output layer came first: the last pattern names a block that does not exist.
    assert blocks[-1] == _LAYERS


def test_the_first_partial_layer_overflows_to_the_next_device() -> None:
    shares = (Share(3, 2, Kept.GATE, "CUDA1"), Share(29, 1))
    found = placed(Parameters(4096), shares, _LAYERS)
    assert found.tensor_split == (3.0, 29.0)
    assert found.overrides == (
        (r"blk\.1\.ffn_down.*", "CUDA1"),
        (r"blk\.2\.ffn_(up|down|gate_up|gate)_(ch|)exps", "CPU"),
        (r"blk\.31\.ffn_(up|down|gate_up|gate)_(ch|)exps", "CPU"),
    )


def test_counts_wrap_around_below_nothing() -> None:
    wrapped = Share(0, 0).grown(0, -1)
    assert (wrapped.n_part, wrapped.n_full) == (2**32 - 1, 1)
    # So many partial layers are none: the engine's loop ends before it begins.
    assert placed(Parameters(0), (Share(31, 0), wrapped), _LAYERS).overrides == ()


def test_integers_are_those_of_the_engine() -> None:
    assert (divided(7, 2), divided(-7, 2), divided(7, -2)) == (3, -3, -3)
    with pytest.raises(DividedByZeroError):
        divided(1, 0)
    assert step_between(10, 500, 0, 1000) == 5
    # A target below what is used already: the negative step becomes a huge one.
    assert step_between(10, 500, 600, 1000) == 9


def test_a_short_list_of_margins_leaves_the_default_for_the_rest() -> None:
    assert margins((5,), 3) == (5, 5, 5)
    assert margins((5, 6), 3) == (5, 6, 2**30)
    assert margins((5, 6), 1) == (5,)
