"""The commands of kvtop: one file each, listed here. Nothing is imported before its verb is asked for.

A verb's module has `PAGE`, the prose of its help, `add_arguments(parser)`, and `run(args) -> int`, the exit code.
"""

from importlib import import_module
from types import ModuleType


class Verb:
    """One command: its word, its line in `kvtop --help`, and its module in this package.

    No dataclass: those cost half of what `kvtop --version` may take.
    """

    __slots__ = ("module", "name", "summary")

    def __init__(self, name: str, summary: str, module: str = "") -> None:
        self.name, self.summary, self.module = name, summary, module or name

    def load(self) -> ModuleType:
        """Import the module."""
        return import_module(f"kvtop.verbs.{self.module}")


VERBS: tuple[Verb, ...] = (
    Verb("snapshot", "print one frame and exit"),
    Verb("record", "record measurements to a file until stopped"),
    Verb("replay", "show a recording, or one moment of it"),
    Verb("report", "one archive for a bug report, which `kvtop replay` plays"),
    Verb("exporter", "metrics for Prometheus, by HTTP or as a textfile"),
    Verb("diff", "what differs between two snapshots, recordings or command lines, and why"),
    Verb("plan", "what a server's command line will allocate, before it is started"),
    Verb("recommend", "configurations of a server that fit, the best first"),
    Verb("quality", "measure what quantized cache types do to a model, on your own text"),
    Verb("wrap", "run mlx_lm.server so that it reports its own memory"),
    Verb("lint", "misconfigurations, of running servers or of a command before it is started"),
    Verb("explain", "what a rule of `kvtop lint` is about"),
    Verb("doctor", "what was probed, what answered, and what to do about what did not"),
    Verb("serve", "the dashboard in a browser, on this machine unless another address is given"),
    Verb("gpus", "the accelerators that --gpu knows by name"),
    Verb("config", "show the configuration"),
    Verb("schema", "print the JSON Schema of what kvtop prints"),
    Verb("themes", "list the themes"),
    Verb("completion", "print the completion script of a shell"),
    Verb("help", "show the help of a command", "help_verb"),
)
