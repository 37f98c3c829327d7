"""The server listens beyond this machine and asks nobody for a key.

Why: whoever reaches the port can use the model, read slots and metrics and fill the cache. llama-server and
mlx_lm.server listen on 127.0.0.1 unless told otherwise; vLLM listens on every address unless told otherwise.
mlx_lm.server has no keys.

Source: tools/server/server-http.cpp of llama.cpp b11434; `setup_server` of vLLM 0.32.0; mlx-lm 0.32.2 server.py.

Cost: security, and memory that strangers fill.

Fix: `--host 127.0.0.1` behind a proxy, or a key from a file or the environment.

Fires on: `--host 0.0.0.0` without a key. Quiet on: the default of llama-server, and 0.0.0.0 with `--api-key-file`.
"""

from kvtop.analysis.ruling import Example, Found, Outcome
from kvtop.analysis.subject import Subject

ENGINES: tuple[str, ...] = ("llama.cpp", "vllm", "mlx")
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL --host 0.0.0.0")
QUIET = Example("llama-server -m MODEL --host 0.0.0.0 --api-key-file /run/keys/llama")
_DEFAULTS = {"llama.cpp": "127.0.0.1", "vllm": "0.0.0.0", "mlx": "127.0.0.1"}
_LOOPBACK = ("127.", "localhost", "::1", "[::1]")


def check(subject: Subject) -> Outcome:
    """A running server's own sockets win over what the options say."""
    if subject.option("api-key") is not None or subject.option("api-key-file") is not None:
        return None
    if subject.engine == "vllm" and (subject.variable("VLLM_API_KEY") or subject.option("uds")):
        return None
    if subject.engine == "llama.cpp" and subject.variable("LLAMA_API_KEY"):
        return None
    observed = None if subject.observed is None else subject.observed.listeners
    host = subject.value("host")
    addresses = observed if observed else tuple((host or _DEFAULTS[subject.engine]).split(","))
    reached = [it for it in map(str.strip, addresses) if not it.startswith(_LOOPBACK) and not it.endswith(".sock")]
    if not reached:
        return None
    said = subject.said("host") or f"the default of {subject.engine} is {_DEFAULTS[subject.engine]}"
    key = {
        "llama.cpp": ", or --api-key-file FILE",
        "vllm": ", or VLLM_API_KEY in the environment",
        "mlx": ": mlx_lm.server has no keys, so put a proxy before it",
    }[subject.engine]
    return Found(
        "warning",
        f"listens on {', '.join(reached)} without a key: whoever reaches the port can use it",
        evidence=f"listening on {', '.join(reached)}" if observed else said,
        fix=f"--host 127.0.0.1{key}",
    )
