"""The commands of kvtop: one file each, listed here. Nothing is imported before its verb is asked for.

A verb's module has `add_arguments(parser)` and `run(args) -> int`, the exit code.
"""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: its word, its line in `kvtop --help`, and its module in this package."""

    name: str
    summary: str
    module: str

    def load(self) -> ModuleType:
        """Import the module."""
        return import_module(f"kvtop.verbs.{self.module}")


VERBS: tuple[Verb, ...] = (
    Verb("snapshot", "print one frame and leave", "snapshot"),
    Verb("record", "write what is measured to a file, until told to stop", "record"),
    Verb("replay", "show a recording, or one moment of it", "replay"),
    Verb("report", "one archive for a bug report, which `kvtop replay` plays", "report"),
    Verb("exporter", "metrics for Prometheus, by HTTP or as a textfile", "exporter"),
    Verb("diff", "what differs between two snapshots, recordings or command lines, and why", "diff"),
    Verb("plan", "what a server's command line will allocate, before it is started", "plan"),
    Verb("recommend", "configurations of a server that fit, the best first", "recommend"),
    Verb("quality", "measure what quantized cache types do to a model, on your own text", "quality"),
    Verb("wrap", "run mlx_lm.server so that it reports its own memory", "wrap"),
    Verb("lint", "misconfigurations, of running servers or of a command before it is started", "lint"),
    Verb("explain", "what a rule of `kvtop lint` is about", "explain"),
    Verb("doctor", "what was probed, what answered, and what to do about what did not", "doctor"),
    Verb("serve", "the dashboard in a browser, on this machine unless told otherwise", "serve"),
    Verb("config", "show the configuration", "config"),
    Verb("schema", "print the JSON Schema of a snapshot", "schema"),
    Verb("themes", "list the themes", "themes"),
)
