"""Command lines, and the processes that run them."""

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.process import Container, Listener, Process
from kvtop.sources.demo.hardware import MIB
from kvtop.sources.demo.timeline import EPOCH

Told = tuple[tuple[str, str, str], ...]
"""Options as (canonical name, value, as typed); "true" for a flag that takes no value."""


def launch(engine: str, told: Told) -> LaunchOptions:
    """What the engine's own parser makes of a command line."""
    return LaunchOptions(engine, tuple(LaunchOption(name, value, Origin.ARGV, typed) for name, value, typed in told))


def process(
    pid: int,
    program: tuple[str, ...],
    told: Told = (),
    *,
    name: str | None = None,
    port: int | None = None,
    rss_mib: int | None = 900,
    children: tuple[int, ...] = (),
    ppid: int = 1,
    container: Container | None = None,
) -> Process:
    """A process that was started with these options two hours before the scenario begins."""
    words = [word for _, value, typed in told for word in ((typed,) if value == "true" else (typed, value)) if word]
    return Process(
        pid=pid,
        ppid=ppid,
        name=(name or program[0].rsplit("/", 1)[-1])[:15],
        argv=(*program, *words),
        executable=program[0],
        environ=(),
        user="llm",
        started_at=EPOCH - 7200,
        rss_bytes=None if rss_mib is None else rss_mib * MIB,
        listeners=() if port is None else (Listener("127.0.0.1", port),),
        children=children,
        container=container,
    )
