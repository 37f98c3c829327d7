"""Write the tables of docs/scenarios.md anew, each between its own markers: `python -m tests.scenarios.scenarios_page`.

`tests/test_scenarios_page.py` fails when the page is not what this prints. Contexts are rounded down to 4k and totals
to 0.1 GiB, so that the page says no more than the estimates do.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from kvtop.analysis.recommending import RecommendRequest, recommend
from kvtop.domain.answers.recommendation import Recommendation, Recommendations, Requirements
from kvtop.domain.answers.room import Fit, room_of
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.commands.command import parse_command
from kvtop.planning.frontier import frontier
from kvtop.planning.gpus.reserve import FreeSays, with_reserve
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.demo.checkpoints import Shape, bf16
from kvtop.sources.demo.gguf_models import gemma3_27b, llama31_8b
from kvtop.text import bytes_text, tokens_text

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"
GIB = 2**30
QWEN3_32B = Shape(
    "Qwen3ForCausalLM", "qwen3", layers=64, width=5120, ffn=25600, heads=64, kv_heads=8, words=151936, context=40960,
    qk_norm=True,
)  # fmt: skip
CODING = "llama-server -m gemma-3-27b-it-Q4_K_M.gguf"
BATCHED = "vllm serve Qwen3-32B --max-model-len 8192"
NODE = "llama-server -m Llama-3.1-8B-Instruct-Q4_K_M.gguf"
NODES = 3


def asked(command: str, model: PlannableModel, card: PlanDevice, requirements: Requirements) -> RecommendRequest:
    """A command on one card, as `kvtop recommend --gpu` would ask."""
    words = tuple(command.split())
    parsed = parse_command(words)
    launch = parse_llama_server(parsed.words, {}) if parsed.engine == "llama.cpp" else parse_serve_options(parsed.words)
    now = plan_launch(launch, model, (card,))
    assert isinstance(now, MemoryPlan)
    card = with_reserve(card, FreeSays.DRIVER)
    plan_context = PlanContext(model, (card,), {"gpu0": room_of(card), "host": None}, {})
    return RecommendRequest(plan_context, WhatIf(launch), now, requirements, words, now.model, now.architecture, 131072)


def coding() -> str:
    """One 24 GB card: how far each cache type goes, and what is recommended for 64k."""
    card = PlanDevice("gpu0", 24 * GIB, 24 * GIB, (8, 9), "cuda", "RTX 4090")
    question = asked(CODING, prepare(gemma3_27b("/m")), card, Requirements(65536, 1))
    grid = frontier(question.plan_context, question.base, question.now, 131072)
    wanted = ("f16/f16", "q8_0/q8_0", "q4_0/q4_0")
    rows = [(row.label, _rounded(row.largest)) for row in grid.rows if row.label in wanted]
    return f"{_table(('cache types', 'largest context'), rows)}\n\n{_recommended(recommend(question))}"


def batched() -> str:
    """One 80 GB card: how many requests of 8k the likely pool holds."""
    card = PlanDevice("gpu0", 80 * GIB, 80 * GIB, (9, 0), "cuda", "H100")
    question = asked(BATCHED, bf16("/m", QWEN3_32B), card, Requirements(8192, 8))
    rows = []
    for dtype in ("auto", "fp8"):
        found = plan_launch(
            question.base.with_changes(kv_cache_dtype=dtype).launch, question.plan_context.model, (card,)
        )
        assert isinstance(found, MemoryPlan)
        assert found.vllm is not None
        likely = found.vllm.pool_estimate
        assert likely is not None
        span = f"{likely.concurrency_low:.0f} to {likely.concurrency_high:.0f}"
        rows.append((dtype, f"{found.vllm.bytes_per_token_per_rank / 1024:.0f} KiB", f"{likely.concurrency:.0f}", span))
    head = ("--kv-cache-dtype", "a token", "requests of 8k, likely", "range")
    return f"{_table(head, rows)}\n\n{_recommended(recommend(question))}"


def nodes() -> str:
    """Three cards: what one node serves, the fleet, and the fleet without one of them."""
    card = PlanDevice("gpu0", 24 * GIB, 24 * GIB, (8, 9), "cuda", "RTX 4090")
    model = prepare(llama31_8b("/m"))
    rows = []
    for kind in ("f16", "q8_0"):
        users = 0
        for count in range(1, 65):
            found = recommend(asked(NODE, model, card, Requirements(16384, count)))
            wanted = [
                it
                for it in found.items
                if it.cache == f"{kind}/{kind}" and it.sequence_tokens == 16384 and not it.uses_host
            ]
            if not any(item.fit is Fit.FITS for item in wanted):
                break
            users = count
        row = (f"{kind}/{kind}", str(users), str(users * NODES), str(users * (NODES - 1)))
        rows.append(row)
    return _table(("cache types", "sequences of 16k a node", f"{NODES} nodes", "one of them lost"), rows)


def _rounded(tokens: int | None) -> str:
    return "?" if tokens is None else tokens_text(tokens // 4096 * 4096)


def _recommended(found: Recommendations) -> str:
    rows = [_row(number, item) for number, item in enumerate(found.items, 1)]
    return _table(("", "cache", "KV cache", "all on the card", "quality", "speed", "command"), rows)


def _row(number: int, item: Recommendation) -> tuple[str, ...]:
    part = item.plan.devices[0]
    pool = item.plan.likely(part)[Segment.KV_CACHE]
    if pool.value_bytes is not None and pool.basis is Basis.ESTIMATED:
        cache = f"about {pool.value_bytes / GIB:.0f} GiB"
    else:
        cache = bytes_text(pool.value_bytes)
    quality = "reference"
    if item.evidence is not None:
        quality = item.evidence.match.value + (
            f" ({item.evidence.model.split(' (')[0]})" if item.evidence.model else ""
        )
    total = f"{item.rooms[0].least_bytes / GIB:.1f} GiB"
    return str(number), item.cache, cache, total, quality, item.speed.speed.value, f"`{item.command}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: dict[str, Callable[[], str]] = {"coding": coding, "batched": batched, "nodes": nodes}


def renewed(page: str) -> str:
    """The page with what each table is now. Raises ValueError where a marker is missing."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"{PAGE.name} lacks the markers of {name}")
        page = f"{before}{begin}\n{table()}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
