"""Where a server can be asked from here: its own port, through the network namespace it lives in."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from kvtop.domain.process import Listener, Process
from kvtop.sources.processes.network_namespace import is_routable

_ANY = frozenset({"0.0.0.0", "::", "::ffff:0.0.0.0"})


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """`url` is None where the server cannot be asked from here, and `note` says why and what to do.

    `port` is the one it listens on, or was told to; None where it was told a number that no port has.
    """

    url: str | None
    port: int | None
    note: str = ""


def endpoint_address(
    process: Process, told_port: int | None, routable: Callable[[str], bool] = is_routable
) -> EndpointAddress:
    """The endpoint of a process that was told to listen on `told_port`; None: on a number that no port has.

    Of its ports the told one is preferred; before it listens, that is where it will be. Where only candidates are known
    (another user's process) no port but the told one counts: the others may be somebody else's.
    """
    listeners = [it for it in process.listeners if it.port == told_port]
    if not listeners and process.listeners_certain:
        listeners = [it for it in process.listeners if it.port == min(other.port for other in process.listeners)]
    port = listeners[0].port if listeners else told_port
    if port is None:
        return EndpointAddress(None, None, "listens on a port that does not exist: ports end at 65535")
    if process.shares_network is False:
        return _elsewhere(process, listeners, port, routable)
    addresses = [_asked_at(it) for it in listeners] or ["127.0.0.1"]
    return EndpointAddress(_url("127.0.0.1" if "127.0.0.1" in addresses else addresses[0], port), port)


def _elsewhere(
    process: Process, listeners: list[Listener], port: int, routable: Callable[[str], bool]
) -> EndpointAddress:
    """A server in another network namespace: 127.0.0.1 here is not its 127.0.0.1."""
    place = process.container.label if process.container is not None else f"pid {process.pid}"
    if listeners and all(ip_address(it.address).is_loopback for it in listeners):
        note = (
            f"{place} listens on {listeners[0].address}:{port} inside its own network namespace only: "
            "start the server with --host 0.0.0.0, or run kvtop inside it"
        )
        return EndpointAddress(None, port, note)
    bound = {it.address for it in listeners}
    offered = [address for address in process.addresses if not bound or bound & _ANY or address in bound]
    for address in offered:
        if routable(address):
            return EndpointAddress(_url(address, port), port)
    has = f" (its addresses there: {', '.join(process.addresses)})" if process.addresses else ""
    note = (
        f"{place} listens on port {port} in a network namespace that is not routed from here{has}: "
        "publish the port and name it with --url, or run kvtop inside it"
    )
    return EndpointAddress(None, port, note)


def _asked_at(listener: Listener) -> str:
    return "127.0.0.1" if listener.address in _ANY else listener.address


def _url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
