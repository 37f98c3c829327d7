"""llama-server as its process and its endpoint show it."""

from dataclasses import dataclass

from kvtop.domain.model_file import GgufHeader
from kvtop.domain.process import Container, Process
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState, Slot
from kvtop.sources.demo.commands import Told, launch, process

PROGRAM = "/opt/llama.cpp/bin/llama-server"
TOKENS_PER_SECOND = 32


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """One llama-server. `prompts` are the tokens that each slot took at second 0; 0 is a slot that idles.

    A slot holds these and what it generates, `tokens_per_second` of them, until its context is full; of them
    `generated_at_start` belong to its answer. Slots of a pool of `pool_tokens` fail together when that is used up, as
    those of b11434 do. After `cycle_seconds` everything begins again.
    """

    pid: int
    port: int
    model: GgufHeader
    parameters: int
    told: Told
    slot_context_tokens: int
    prompts: tuple[int, ...]
    rss_mib: int = 780
    tokens_per_second: int = TOKENS_PER_SECOND
    generated_at_start: int = 0
    pool_tokens: int | None = None
    cycle_seconds: float | None = None
    container: Container | None = None
    address: str = "127.0.0.1"
    program: str = PROGRAM

    @property
    def options(self) -> Told:
        """The whole command line: the model, what else was told, the port."""
        return (("model", self.model.path, "-m"), *self.told, ("port", str(self.port), "--port"))

    def process(self) -> Process:
        """Its one process."""
        return process(
            self.pid,
            (self.program,),
            self.options,
            port=self.port,
            rss_mib=self.rss_mib,
            container=self.container,
        )

    def reading(self, second: float) -> ServerReading:
        """What it answers at that second."""
        slots = self._slots(second)
        return ServerReading(
            id=f"{self.address}:{self.port}",
            engine="llama.cpp",
            state=ServerState.READY,
            version="b11434",
            url=f"http://{self.address}:{self.port}",
            pids=(self.pid,),
            model=ModelFacts(
                self.model.path,
                self.model.path,
                "Q4_K - Medium",
                self.parameters,
                None,
                _whole(self.model, "context_length"),
            ),
            launch=launch("llama.cpp", self.options),
            slot_context_tokens=self.slot_context_tokens,
            slot_count=len(self.prompts),
            slots=slots,
            counters=Counters(
                prompt_tokens_total=float(sum(self.prompts)),
                requests_processing=float(sum(slot.is_processing is True for slot in slots)),
            ),
            model_key=self.model.path,
        )

    def _slots(self, second: float) -> tuple[Slot, ...]:
        cycle, since = divmod(second, self.cycle_seconds) if self.cycle_seconds else (0.0, second)
        generated = int(since * self.tokens_per_second)
        context = self.slot_context_tokens
        decoded = [min(generated, context - prompt) if prompt else 0 for prompt in self.prompts]
        has_failed = self.pool_tokens is not None and sum(self.prompts) + sum(decoded) > self.pool_tokens
        slots = []
        for index, prompt in enumerate(self.prompts):
            if prompt == 0 or has_failed:
                slots.append(Slot(index, context, 0, False, None))
                continue
            is_busy = prompt + decoded[index] < context
            answer = self.generated_at_start + decoded[index] if is_busy else 0
            name = int(cycle) * len(self.prompts) + index
            slots.append(Slot(index, context, prompt + decoded[index], is_busy, answer, task_id=name))
        return tuple(slots)


def _whole(model: GgufHeader, name: str) -> int | None:
    value = model.metadata.get(f"{model.architecture}.{name}")
    return value if isinstance(value, int) else None
