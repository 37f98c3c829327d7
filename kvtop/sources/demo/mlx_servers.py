"""`mlx_lm.server` as its process and its endpoint show it."""

from dataclasses import dataclass

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.process import Process
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.sources.demo.commands import Told, launch, process


@dataclass(frozen=True, slots=True)
class MlxServer:
    """One `mlx_lm.server`. Its endpoint says neither which model is loaded nor what the cache holds."""

    pid: int
    port: int
    model: Checkpoint
    told: Told = ()
    program: str = "/opt/homebrew/bin/mlx_lm.server"

    @property
    def options(self) -> Told:
        """The whole command line."""
        return (("model", self.model.path, "--model"), *self.told, ("port", str(self.port), "--port"))

    def process(self, rss_mib: int) -> Process:
        """Its one process with that much resident memory."""
        program = ("/opt/homebrew/bin/python3", self.program)
        return process(self.pid, program, self.options, name="mlx_lm.server", port=self.port, rss_mib=rss_mib)

    def reading(self) -> ServerReading:
        """What it answers: that it is there."""
        return ServerReading(
            id=f"127.0.0.1:{self.port}",
            engine="mlx",
            state=ServerState.READY,
            url=f"http://127.0.0.1:{self.port}",
            pids=(self.pid,),
            model=ModelFacts(self.model.path.rsplit("/", 1)[-1], self.model.path),
            launch=launch("mlx", self.options),
            model_key=self.model.path,
        )
