"""Where a server is asked: never at 127.0.0.1 when it lives in another network namespace."""

from kvtop.domain.process import Container, Listener, Process
from kvtop.sources.servers.address import endpoint_address

ID = "3f2a1b4c5d6e7f80" * 4


def process(*listeners: tuple[str, int], certain: bool = True, **more: object) -> Process:
    found = tuple(Listener(address, port) for address, port in listeners)
    return Process(7, 1, "llama-server", ("llama-server",), listeners=found, listeners_certain=certain, **more)  # type: ignore[arg-type]


def contained(*listeners: tuple[str, int], certain: bool = True) -> Process:
    return process(
        *listeners,
        certain=certain,
        shares_network=False,
        addresses=("172.17.0.2", "fd00::2"),
        container=Container("docker", ID, "web"),
    )


def test_here_the_told_port_comes_first() -> None:
    both = process(("127.0.0.1", 9000), ("0.0.0.0", 8080))
    assert endpoint_address(both, 8080).url == "http://127.0.0.1:8080"
    assert endpoint_address(both, 1234).url == "http://127.0.0.1:8080"
    assert endpoint_address(process(), 1234).url == "http://127.0.0.1:1234"
    assert endpoint_address(process(("192.168.1.5", 8080)), 8080).url == "http://192.168.1.5:8080"
    assert endpoint_address(process(("::1", 8080)), 8080).url == "http://[::1]:8080"


def test_a_candidate_that_was_not_told_may_be_somebody_elses() -> None:
    guessed = process(("192.168.1.5", 9000), certain=False)
    assert endpoint_address(guessed, 8080).url == "http://127.0.0.1:8080"
    assert endpoint_address(guessed, 9000).url == "http://192.168.1.5:9000"


def test_a_container_is_asked_at_its_own_address() -> None:
    reach = endpoint_address(contained(("0.0.0.0", 8080)), 8080, lambda _: True)
    assert (reach.url, reach.port, reach.note) == ("http://172.17.0.2:8080", 8080, "")
    assert endpoint_address(contained(("fd00::2", 8080)), 8080, lambda _: True).url == "http://[fd00::2]:8080"
    assert endpoint_address(contained(certain=False), 8080, lambda _: True).url == "http://172.17.0.2:8080"


def test_loopback_in_a_container_cannot_be_asked() -> None:
    reach = endpoint_address(contained(("127.0.0.1", 8080)), 8080, lambda _: True)
    assert reach.url is None
    assert "docker web listens on 127.0.0.1:8080 inside its own network namespace only" in reach.note
    assert "--host 0.0.0.0" in reach.note


def test_an_address_that_is_not_routed_is_not_asked() -> None:
    reach = endpoint_address(contained(("0.0.0.0", 8080)), 8080, lambda _: False)
    assert reach.url is None
    assert "172.17.0.2" in reach.note
    assert "--url" in reach.note
