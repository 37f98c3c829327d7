"""The server listens beyond this machine and requires no key.

Why: anyone who reaches the port can use the model, read slots and metrics and fill the cache. llama-server and
mlx_lm.server listen on 127.0.0.1 by default; vLLM listens on every address by default.
mlx_lm.server has no keys.

Source: tools/server/server-http.cpp of llama.cpp b11434; `setup_server` of vLLM 0.32.0; mlx-lm 0.32.2 server.py.

A running server that answers requests without a key, on an address that others reach, is a warning. Before the start,
and where no answer shows it, a firewall or a proxy may stand in front: an info where the address or the port was typed,
nothing where it is the engine's default.

In a container the address inside says nothing: `-p 8080:8080` publishes on every address, `-p 127.0.0.1:8080:8080` here
alone.

Cost: security, and memory that strangers fill.

Fix: `--host 127.0.0.1` behind a proxy (a container: `-p 127.0.0.1:PORT:PORT`), or a key from a file or the environment.

Fires on: a server on 0.0.0.0 that answers without a key (a warning). Quiet on: 0.0.0.0 with `--api-key-file`.
"""

from kvtop.analysis.lint.fixes.fix import Fix, Way
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ()
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL --host 0.0.0.0", observed=Observed(listeners=("0.0.0.0",), wants_key=False))
QUIET = Example("llama-server -m MODEL --host 0.0.0.0 --api-key-file /run/keys/llama")
_LOOPBACK = ("127.", "localhost", "::1", "[::1]")


def check(target: LintTarget) -> Outcome:
    """A running server's own sockets win over what the options say; a container's ports over its own address."""
    seen, traits = target.observed, target.traits
    if _has_key(target):
        return None
    observed = None if seen is None else seen.listeners
    if target.launch is None and not observed:
        return Lacks("where it listens is unknown: neither its options nor its sockets can be read")
    host = target.value(traits.host_option)
    addresses = observed if observed else tuple((host or traits.default_host).split(","))
    reached = [it for it in map(str.strip, addresses) if not it.startswith(_LOOPBACK) and not it.endswith(".sock")]
    if not any(reached):
        return None
    if target.where.published is not None and not observed:
        return _published(target, target.where.published)
    if host is None and not observed:
        return None
    if seen is not None and seen.has_own_network:
        return _in_own_network(target, reached)
    answered = "; it answers requests without a key" if seen is not None and seen.wants_key is False else ""
    return Found(
        "warning" if answered else "info",
        f"listens on {', '.join(reached)} without a key: anyone who reaches the port can use it",
        evidence=f"listening on {', '.join(reached)}{answered}"
        if observed
        else f"{target.said(traits.host_option)}{answered}",
        cost="security",
        fix=(*_bound_here(target), traits.key_words),
    )


def _has_key(target: LintTarget) -> bool:
    """By its options, its environment or its answers; or it is on no network."""
    traits = target.traits
    if any(target.option(name) is not None for name in (*traits.key_options, *traits.private_options)):
        return True
    if any(target.variable(name) for name in traits.key_variables):
        return True
    return target.observed is not None and bool(target.observed.wants_key)


def _bound_here(target: LintTarget) -> tuple[Way, ...]:
    """Where kvtop knows which option sets the address."""
    if not target.traits.default_host:
        return ("an address of this machine alone (127.0.0.1)",)
    return (Fix(((target.traits.host_option, "127.0.0.1"),)),)


def _in_own_network(target: LintTarget, reached: list[str]) -> Outcome:
    """A running container: whether its port is published stands nowhere that kvtop reads."""
    return Found(
        "info",
        f"listens on {', '.join(reached)} of its container without a key: anyone who reaches the container, or a port "
        "of it that is published, can use it",
        evidence=f"listening on {', '.join(reached)} in a network of its own",
        cost="security",
        fix=f"publish its port on 127.0.0.1 alone (-p 127.0.0.1:PORT:PORT), or {target.traits.key_words}",
    )


def _published(target: LintTarget, ports: tuple[str, ...]) -> Outcome:
    """Inside a container every address is right; what counts is where its ports are published."""
    open_ports = [it for it in ports if not it.startswith(_LOOPBACK)]
    if not open_ports:
        return None
    if target.where.has_unread_variables:
        return Lacks("the variables of --env-file were not read: a key may be among them")
    narrow = " ".join(f"-p 127.0.0.1:{_without_address(it)}" for it in open_ports)
    return Found(
        "info",
        f"its port is published on every address (-p {' -p '.join(open_ports)}) without a key: anyone who reaches it "
        "can use it",
        evidence=f"-p {' -p '.join(open_ports)}",
        cost="security",
        fix=f"{narrow}, or {target.traits.key_words}",
    )


def _without_address(port: str) -> str:
    """`0.0.0.0:8080:8080` and `8080:8080` alike; a port alone is the container's, the host's is then any."""
    parts = port.rsplit(":", 2) if port.count(":") > 1 else ["", *port.split(":")]
    return ":".join(parts[1:]) if len(parts) > 2 else f":{parts[-1]}"
