"""Which llama-server a version of Ollama brings along."""

from bisect import bisect_right

from kvtop.planning.versions import version_numbers

BUILDS: tuple[tuple[str, str], ...] = (
    ("0.30.0", "b9452"),
    ("0.30.1", "b9479"),
    ("0.30.4", "b9493"),
    ("0.30.5", "b9509"),
    ("0.30.9", "b9626"),
    ("0.30.10", "b9672"),
    ("0.30.11", "b9781"),
    ("0.30.12", "b9840"),
    ("0.31.2", "b9888"),
    ("0.32.2", "b10069"),
    ("0.32.3", "b10091"),
    ("0.32.6", "b10242"),
    ("0.32.8", "b10353"),
    ("0.32.10", "b10380"),
    ("0.32.14", "b10434"),
    ("0.32.15", "b10488"),
)
"""The first version with each build, the oldest first (the file LLAMA_CPP_VERSION at ollama's tags)."""
NEWEST_READ = "0.33.0"
"""The newest version whose rules were read."""


def build_of(version: str) -> str | None:
    """The build of llama.cpp in that version ("0.32.6"); None before 0.30, and for what is no version."""
    numbers = version_numbers(version)
    if numbers is None:
        return None
    firsts = [version_numbers(first) or () for first, _ in BUILDS]
    at = bisect_right(firsts, tuple(numbers)[:3])
    return BUILDS[at - 1][1] if at else None
