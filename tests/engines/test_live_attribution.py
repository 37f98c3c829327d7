"""A real llama-server, sampled and explained: its log, its slots and its resident set hold the figures to account."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.figure import Basis
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.headroom import Filling, Ground
from kvtop.domain.memory import Segment
from kvtop.domain.sample import Sample
from kvtop.sources.poller import Poller, PollerOptions, take_sample
from tests.amounts import size_of
from tests.engines.conftest import LlamaServer

pytestmark = pytest.mark.engines


def view_of(frame: Frame, server: LlamaServer) -> ServerView:
    (view,) = [it for it in frame.servers if server.pid in it.reading.pids]
    return view


def answered() -> Sample:
    """A sample in which nothing is late: on a busy machine a look may pass its deadline, and then says so."""
    ends = time.monotonic() + 120
    while (sample := take_sample(PollerOptions())).pending and time.monotonic() < ends:
        time.sleep(1)
    return sample


def explained(server: LlamaServer) -> ServerView:
    return view_of(analyse(History(), answered(), "1"), server)


@pytest.mark.parametrize("options", ["", "-c 8192 -np 2 -no-kvu -ctk q8_0 -ctv q8_0", "-c 16384 --swa-full"])
def test_the_computation_agrees_with_the_servers_own_log(
    options: str, llama_server: Callable[..., LlamaServer]
) -> None:
    server = llama_server(*options.split(), "--no-warmup", verbose=True)
    view = explained(server)
    (split,) = view.splits
    assert view.reading.memory_reports, "the log was not read"
    assert view.disagreements == ()
    assert split.memory[Segment.KV_CACHE].basis is Basis.COMPUTED
    assert split.memory[Segment.KV_CACHE].value_bytes is not None
    assert size_of(split, Segment.KV_CACHE) / 2**20 == pytest.approx(server.logged_mib("KV"), abs=0.011)
    assert split.memory[Segment.COMPUTE].basis is Basis.REPORTED
    assert split.driver.value_bytes is not None
    assert sum(figure.value_bytes or 0 for _, figure in split.memory.parts) == split.driver.value_bytes


def test_without_a_log_the_estimate_of_compute_has_its_range(llama_server: Callable[..., LlamaServer]) -> None:
    (split,) = explained(llama_server("-c", "4096", "--no-warmup")).splits
    assert split.memory[Segment.COMPUTE].basis is Basis.ESTIMATED


def test_two_servers_of_one_model_are_both_explained_at_the_first_look(
    llama_server: Callable[..., LlamaServer],
) -> None:
    servers = [llama_server("-c", "4096", "-np", str(slots), "--no-warmup") for slots in (1, 2)]
    frame = analyse(History(), answered(), "1")
    assert all(view_of(frame, server).plan is not None for server in servers)


def test_a_slot_that_fills_is_told_before_it_is_full(llama_server: Callable[..., LlamaServer]) -> None:
    """It may generate more than its slot holds, and does: one that ends before is not counted down."""
    server = llama_server("-c", "2048", "-np", "1", "--no-warmup")
    request = threading.Thread(target=server.complete, args=("once upon a time", 8000), daemon=True)

    async def watch() -> list[ServerView]:
        poller, history, views = Poller(PollerOptions(interval_seconds=0.5)), History(), []
        request.start()
        async for sample in poller.samples():
            if sample.pending:  # a busy machine: the next tick has it
                continue
            views.append(view_of(analyse(history, sample, "1"), server))
            if views[-1].time_to_full.state is Filling.GROWING or len(views) > 500:
                break
        await poller.aclose()
        return views

    views = asyncio.run(watch())
    last = views[-1]
    request.join(300)
    filling, (slot,) = last.time_to_full, last.reading.slots or ()
    assert (filling.state, filling.cause) == (Filling.GROWING, "slot 0")
    assert slot.used_tokens is not None
    assert filling.tokens_left == last.headroom.cache_tokens_left == 2048 - slot.used_tokens
    assert filling.seconds is not None
    assert filling.tokens_per_second is not None
    assert filling.ground is Ground.ANSWERS
    assert slot.remaining_tokens is not None
    assert filling.addable_tokens == 2048 - slot.used_tokens
    assert filling.seconds == pytest.approx(filling.tokens_left / filling.tokens_per_second)
    assert [it.device_id for it in last.calibration] == ["host"]
