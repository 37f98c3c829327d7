"""`vllm serve` as its processes and its endpoint show it."""

from dataclasses import dataclass

from kvtop.domain.engine_report import PoolReport, Rank
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.process import Container, Process
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState
from kvtop.sources.demo.commands import Told, launch, process

BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class VllmServer:
    """One `vllm serve`. `pid` is the API server; the engine core is the next one, then a worker for each rank.

    With one rank the model lies in the engine core and there is no worker (vLLM 0.32.0, executor "uni").
    `used_blocks_at_start` grows by `blocks_per_second` until the pool is full.
    """

    pid: int
    port: int
    model: Checkpoint
    told: Told
    ranks: int
    block_count: int
    sequence_limit_tokens: int
    used_blocks_at_start: int
    blocks_per_second: float
    running: int = 8
    waiting: int = 0
    container: Container | None = None
    address: str = "127.0.0.1"

    @property
    def options(self) -> Told:
        """The whole command line."""
        return (("model", self.model.path, ""), *self.told, ("port", str(self.port), "--port"))

    @property
    def core_pid(self) -> int:
        """The engine core."""
        return self.pid + 1

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The workers, rank 0 first; none where the engine core holds the model."""
        return tuple(self.pid + 2 + rank for rank in range(self.ranks)) if self.ranks > 1 else ()

    @property
    def device_pids(self) -> tuple[int, ...]:
        """The processes that hold memory on a card, rank 0 first."""
        return self.worker_pids or (self.core_pid,)

    def processes(self) -> tuple[Process, ...]:
        """The API server, the engine core and the workers."""
        inner = (self.core_pid, *self.worker_pids)
        front = process(
            self.pid,
            ("/opt/vllm/bin/python3", "/opt/vllm/bin/vllm", "serve"),
            self.options,
            name="vllm",
            port=self.port,
            rss_mib=1_180,
            children=inner,
            container=self.container,
        )
        core = process(self.core_pid, ("VLLM::EngineCore",), ppid=self.pid, rss_mib=2_260, container=self.container)
        workers = (
            process(pid, (f"VLLM::Worker_TP{rank}",), ppid=self.core_pid, rss_mib=3_140, container=self.container)
            for rank, pid in enumerate(self.worker_pids)
        )
        return (front, core, *workers)

    def reading(self, second: float) -> ServerReading:
        """What `/metrics`, `/version` and `/v1/models` say at that second."""
        usable = self.block_count - 1
        used = min(self.used_blocks_at_start + int(second * self.blocks_per_second), usable)
        ranks = (Rank(self.pid, "api server"), Rank(self.core_pid, "engine core"))
        workers = (Rank(pid, "worker", tensor_parallel_index=rank) for rank, pid in enumerate(self.worker_pids))
        capacity = self.block_count * BLOCK_TOKENS
        return ServerReading(
            id=f"{self.address}:{self.port}",
            engine="vllm",
            state=ServerState.READY,
            version="0.32.0",
            url=f"http://{self.address}:{self.port}",
            pids=(self.pid, self.core_pid, *self.worker_pids),
            model=ModelFacts(self.model.path.rsplit("/", 1)[-1], self.model.path),
            launch=launch("vllm", self.options),
            sequence_limit_tokens=self.sequence_limit_tokens,
            pools=(
                PoolReport(
                    capacity_tokens=capacity,
                    block_count=self.block_count,
                    block_size_tokens=BLOCK_TOKENS,
                    used_ratio=used / usable,
                    max_concurrency=capacity / self.sequence_limit_tokens,
                    cache_type={name: value for name, value, _ in self.told}.get("kv-cache-dtype", "auto"),
                    requests_running=float(self.running),
                    requests_waiting=float(self.waiting),
                    null_blocks=1,
                ),
            ),
            ranks=(*ranks, *workers),
            counters=Counters(
                prompt_tokens_total=214_000.0 + int(second * 900),
                generated_tokens_total=61_000.0 + int(second * self.blocks_per_second * BLOCK_TOKENS),
                requests_processing=float(self.running),
                requests_waiting=float(self.waiting),
                preemptions_total=0.0,
            ),
            model_key=self.model.path,
        )
