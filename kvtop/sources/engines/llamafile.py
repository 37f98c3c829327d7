"""llamafile: llama.cpp's server and a model in one file. Its endpoint is an older llama.cpp's. No I/O here.

What is told over HTTP is read by the llama.cpp adapter; memory is the driver's total, because each release bundles a
llama.cpp of its own age and the model lies inside the program.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ServerReading
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import llamacpp
from kvtop.sources.engines.named_flags import parse_named, port_in

NAME = "llamafile"
DEFAULT_PORT = 8080
OPENS_OTHER_PORTS = False
PATHS = llamacpp.PATHS
KEYED_PATHS = llamacpp.KEYED_PATHS
SELDOM_SECONDS = llamacpp.SELDOM_SECONDS

_OPTIONS = {
    "-m": "model",
    "--model": "model",
    "-c": "ctx-size",
    "--ctx-size": "ctx-size",
    "--port": "port",
    "-ngl": "gpu-layers",
    "--n-gpu-layers": "gpu-layers",
    "-np": "parallel",
    "--parallel": "parallel",
    "-ctk": "cache-type-k",
    "--cache-type-k": "cache-type-k",
    "-ctv": "cache-type-v",
    "--cache-type-v": "cache-type-v",
    "--gpu": "gpu",
}


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """By its ending; it may run under a loader (`ape`), which then is the program."""
    del comm
    return any(word.endswith(".llamafile") or word.rpartition("/")[2] == "llamafile" for word in argv[:3])


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """The options that decide memory, for showing."""
    del environ, files
    return parse_named(NAME, argv[1:], _OPTIONS)


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """Never: over HTTP it is a llama.cpp."""
    del replies
    return False


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """As of a llama.cpp."""
    return llamacpp.wanted(replies, options)


def read(known: ServerInputs) -> ServerReading:
    """As of a llama.cpp, under its own name."""
    return replace(llamacpp.read(known), engine=NAME, launch=known.options)
