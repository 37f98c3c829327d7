"""The replay of ggml's graph allocator and scheduler, rule by rule."""

from kvtop.planning.llamacpp.graph.allocation import peak_bytes
from kvtop.planning.llamacpp.graph.graph import Graph, Resident, Tensor
from kvtop.planning.llamacpp.graph.schedule import schedule

GPU, HOST = 0, 1
ALIGNMENTS = (128, 32)


def _graph(*, offloads: bool = True) -> Graph:
    graph = Graph(HOST, offloads)
    graph.rows = 512
    return graph


def _peaks(graph: Graph, copies: int = 1) -> list[int]:
    ordered = schedule(graph, copies)
    return peak_bytes([*graph.inputs, *graph.constants], ordered, ALIGNMENTS)


def _weight(home: int, size_bytes: int = 4096) -> Resident:
    return Resident(size_bytes, home, rows=8)


def test_memory_is_used_again_after_the_last_use() -> None:
    graph = _graph()
    x = graph.weighted(1024, _weight(GPU), ())
    for _ in range(5):
        x = graph.weighted(1024, _weight(GPU), (x,))
    assert _peaks(graph) == [2048, 0]


def test_operations_in_place_take_their_source_over() -> None:
    graph = _graph()
    x = graph.weighted(1024, _weight(GPU), ())
    for _ in range(5):
        x = graph.compute(1024, (x,), 1)
    assert _peaks(graph) == [1024, 0]


def test_a_source_that_is_needed_later_is_not_taken_over() -> None:
    graph = _graph()
    x = graph.weighted(1024, _weight(GPU), ())
    y = graph.compute(1024, (x,), 1)
    graph.compute(1024, (y, x), 1)
    assert _peaks(graph) == [2048, 0]


def test_the_rest_of_a_larger_source_is_freed() -> None:
    graph = _graph()
    x = graph.weighted(4096, _weight(GPU), ())
    y = graph.compute(1024, (x,), 1)
    z = graph.compute(2048, (y,))
    graph.compute(0, (y, z))
    assert _peaks(graph) == [4096, 0]


def test_a_view_is_taken_over_only_as_a_copy() -> None:
    graph = _graph()
    x = graph.weighted(1024, _weight(GPU), ())
    y = graph.compute(1024, (x,), 1)
    y.view_first = True
    assert _peaks(graph) == [2048, 0]


def test_the_best_fitting_hole_is_taken() -> None:
    graph = _graph()
    large = graph.weighted(4096, _weight(GPU), ())
    fence = graph.compute(128, (large,))
    small = graph.compute(1024, (large,))
    end = graph.compute(128, (large, small))
    graph.compute(0, (large,))
    graph.compute(0, (small,))
    # Holes of 4096 and of 1024 bytes below the end.
    fits = graph.compute(1024, (fence, end))
    rest = graph.compute(4096, (fence, end, fits))
    graph.compute(0, (fence, end, fits, rest))
    assert _peaks(graph) == [4096 + 128 + 1024 + 128, 0]


def test_sizes_are_rounded_to_the_alignment_of_the_device() -> None:
    graph = _graph()
    graph.input(33)
    graph.weighted(129, _weight(GPU), ())
    assert _peaks(graph) == [256, 64]


def test_inputs_are_copied_at_the_start_of_a_split() -> None:
    graph = _graph()
    x = graph.weighted(1024, _weight(GPU), ())
    mask = graph.input(2048)
    graph.compute(1024, (x, mask))
    ordered = schedule(graph, 1)
    assert [tensor.size_bytes for tensor in ordered] == [2048, 1024, 1024]
    assert ordered[0].sources == (mask,)


def test_a_tensor_is_copied_once_per_device() -> None:
    graph = _graph()
    mask = graph.input(2048)
    x = graph.weighted(1024, _weight(GPU), (mask,))
    graph.weighted(1024, _weight(GPU), (x, mask))
    assert [tensor.size_bytes for tensor in schedule(graph, 1)] == [2048, 1024, 1024]


def test_weights_of_the_host_are_staged_one_split_each() -> None:
    graph = _graph()
    x = graph.weighted(256, _weight(GPU), ())
    for _ in range(3):
        x = graph.weighted(256, _weight(HOST, 8192), (x,))
    gpu, host = _peaks(graph)
    # Never two staged weights at a time.
    assert 8192 + 512 <= gpu < 2 * 8192
    assert host == 0


def test_few_rows_are_not_worth_the_way() -> None:
    graph = _graph()
    graph.rows = 31
    x = graph.weighted(256, _weight(GPU), ())
    graph.weighted(256, _weight(HOST, 8192), (x,))
    assert _peaks(graph) == [256, 512]


def test_another_device_copies_only_the_part_that_is_read() -> None:
    graph = _graph()
    whole = graph.weighted(4096, _weight(HOST, 0), (), 0, 1)
    x = graph.weighted(1024, _weight(GPU), ())
    graph.compute(1024, (x, graph.part(whole, 512)), 1)
    assert _peaks(graph) == [512 + 1024, 4096]


def test_without_offload_the_host_computes() -> None:
    graph = _graph(offloads=False)
    x = graph.weighted(256, _weight(GPU), ())
    graph.weighted(256, _weight(HOST, 8192), (x,))
    assert _peaks(graph) == [256, 512]


def test_a_pipeline_keeps_four_copies_of_everything_staged() -> None:
    graph = _graph()
    mask = graph.input(2048)
    x = graph.weighted(1024, _weight(GPU), (mask,))
    graph.compute(1024, (x,), 1)
    assert _peaks(graph, copies=4) == [4 * 2048 + 1024, 4 * 2048]


def test_operations_without_a_kernel_run_on_the_host() -> None:
    graph = _graph()
    x = graph.weighted(1024, _weight(GPU), ())
    attended = graph.read(1024, (Resident(4096, GPU),), (x,))
    attended.host_only = True
    graph.weighted(1024, _weight(GPU), (attended,))
    schedule(graph, 1)
    assert attended.device == HOST


def test_states_are_gathered_before_what_nobody_asked_for_yet() -> None:
    graph = _graph()
    rows = graph.input(32)
    x = graph.weighted(1024, _weight(GPU), ())
    graph.expand()
    y = graph.weighted(1024, _weight(GPU), (x,))
    state = graph.gather(512, Resident(512, GPU), rows)
    assert graph.operations.index(state) < graph.operations.index(y)
    assert isinstance(state, Tensor)


def test_constants_exist_from_the_start() -> None:
    graph = _graph()
    constants = [graph.constant(1024, GPU) for _ in range(3)]
    x = graph.weighted(128, _weight(GPU), ())
    for constant in constants:
        x = graph.compute(128, (x, graph.compute(1024, (constant,), 1)), 1)
    assert _peaks(graph) == [3 * 1024 + 128, 0]
