"""`make bench-fleet`: what a look at a fleet costs. Its cluster is invented, its requests are real."""

import asyncio
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection

from kvtop.analysis.analyse import History, analyse
from kvtop.sources.fleet import Fleet, FleetOptions
from tests.prometheus.stand_in import Cluster, cluster_of, standing_in

SIZES = (100, 300, 1000, 3000)
CPU_BUDGET_SECONDS = {1000: 0.1}
TICKS = 3


def _serve(servers: int, pipe: Connection) -> None:
    """The metrics server, in a process of its own: its work is not kvtop's."""
    cluster = Cluster(cluster_of(servers))
    with standing_in(cluster) as url:
        pipe.send(url)
        pipe.recv()
        pipe.send((len(cluster.asked), sum(cluster.sent_bytes)))
        pipe.recv()


async def _looked(url: str) -> tuple[float, float, int, int]:
    fleet, history = Fleet(FleetOptions(url)), History()
    sampling = analysing = 0.0
    sample = await fleet.sample()
    analyse(history, sample, "bench")
    for _ in range(TICKS):
        started = time.process_time()
        sample = await fleet.sample()
        sampled = time.process_time()
        analyse(history, sample, "bench")
        sampling, analysing = sampling + sampled - started, analysing + time.process_time() - sampled
    await fleet.aclose()
    return sampling / TICKS, analysing / TICKS, len(sample.servers), len(sample.devices)


def main() -> int:
    """Prints a line for each size; 1 where a budget is exceeded."""
    print("servers  cards  CPU s a tick: sample  analyse   queries  packed bytes a tick   RSS MiB")
    exceeded = False
    context = multiprocessing.get_context("spawn")
    for servers in SIZES:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(servers, theirs), daemon=True)
        process.start()
        sampling, analysing, found, cards = asyncio.run(_looked(ours.recv()))
        ours.send(None)
        asked, sent = ours.recv()
        ours.send(None)
        process.join()
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ticks = TICKS + 1
        print(
            f"{found:7d} {cards:6d} {sampling:21.3f} {analysing:8.3f} {asked / ticks:9.1f} "
            f"{sent // ticks:20,d} {rss:9.0f}"
        )
        budget = CPU_BUDGET_SECONDS.get(servers)
        if budget is not None and sampling + analysing > budget:
            print(f"        over the budget of {budget:g} s CPU a tick")
            exceeded = True
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
