"""MLX's counters, divided by the weights of the model file. The numbers are those of a real mlx_lm.server 0.32.2."""

from kvtop.analysis.attribution.array_counters import divided
from kvtop.analysis.attribution.splits import PYTHON_PRIOR, Runtime, split_on
from kvtop.domain.engine_report import RankReport
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import MemoryPlan
from tests.amounts import high_of, share

NOTHING = Figure.estimated(0, 0, 0)
WEIGHTS = 14_821_888
ON_HOST = Runtime(PYTHON_PRIOR, is_resident_set=True)


def plan(engine: str = "mlx", weights: int | None = WEIGHTS, state: int = 0) -> MemoryPlan:
    device = share("host", weights, 4_194_304, state, NOTHING)
    return MemoryPlan(engine, "mlx-lm 0.32.2", "tiny", "llama", (device,), 16384.0, ())


def report(active: int | None) -> RankReport:
    return RankReport(device_id="host", active_bytes=active, kept_bytes=127_778, source="by kvtop wrap")


def test_what_is_no_weight_is_cache() -> None:
    """One prompt of 1000 tokens: its cache, and the copy that an idle batch keeps, 1024 rows of 16384 bytes each."""
    (found,) = divided([report(WEIGHTS + 33_555_476)], plan())
    assert found.memory.bytes_of(Segment.KV_CACHE) == 33_555_476
    assert found.memory[Segment.KV_CACHE].least_bytes - 2 * 1024 * 16384 == 1044
    assert found.memory.bytes_of(Segment.COMPUTE) == 127_778
    assert "less the weights" in found.source
    assert (found.memory.bytes_of(Segment.WEIGHTS), found.active_bytes) == (None, WEIGHTS + 33_555_476)


def test_a_model_that_is_not_loaded_whole_has_no_known_cache() -> None:
    (found,) = divided([report(WEIGHTS - 1)], plan())
    assert found.memory.bytes_of(Segment.KV_CACHE) is None
    assert divided([report(WEIGHTS)], plan())[0].memory.bytes_of(Segment.KV_CACHE) == 0


def test_state_is_told_from_cache() -> None:
    (found,) = divided([report(WEIGHTS + 1500)], plan(state=500))
    assert found.memory.bytes_of(Segment.KV_CACHE) == 1000
    assert "state of one sequence" in found.source


def test_where_nothing_can_be_divided_the_reports_stay() -> None:
    untouched = (report(WEIGHTS + 5),)
    assert divided(untouched, None) == untouched
    assert divided(untouched, plan(weights=None)) == untouched
    assert divided(untouched, plan("vllm")) == untouched
    assert divided([report(None)], plan()) == (report(None),)


def test_a_cache_that_nobody_reports_is_a_range_and_never_a_number() -> None:
    driver = Figure(136_495_104, Basis.MEASURED)
    weights = Figure(WEIGHTS, Basis.COMPUTED)
    unseen = Figure(None, Basis.UNKNOWN, low_bytes=0)
    memory = Memory.of(
        {
            Segment.WEIGHTS: weights,
            Segment.KV_CACHE: unseen,
            Segment.RECURRENT: Figure(0, Basis.COMPUTED),
            Segment.COMPUTE: UNKNOWN,
        }
    )
    split = split_on("host", driver, memory, ON_HOST)
    cache = split.memory[Segment.KV_CACHE]
    assert (cache.value_bytes, cache.low_bytes) == (None, 0)
    assert cache.high_bytes == 136_495_104 - WEIGHTS - PYTHON_PRIOR.least_bytes
    assert sum(figure.value_bytes or 0 for _, figure in split.memory.parts) == 136_495_104
    assert split_on("x", UNKNOWN, memory).memory[Segment.KV_CACHE] == unseen
    assert high_of(split_on("host", Figure(1, Basis.MEASURED), memory, ON_HOST), Segment.KV_CACHE) == 0
