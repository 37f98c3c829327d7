"""Cache types that llama-server does not have, and what was meant by them: the next type that it has.

`kv_cache_types`, common/arg.cpp, b11434. Weight formats and the types of forks are the usual ones.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.options.table import BY_SPELLING, OPTIONS

WORDS = "Unsupported cache type: "
_COMPLAINT = re.compile(rf'(?:.*"(?P<place>[^"]+)": )?{WORDS}(?P<kind>.*)')
_WIDE = re.compile(r"(?:b?f(?:loat|p)?)(?:16|32)")
_BITS = re.compile(r"\d+")
_BY_VARIABLE = {spec.variable: name for name, spec in OPTIONS.items() if spec.variable is not None}


@dataclass(frozen=True, slots=True)
class RefusedType:
    """`option` is the canonical name, None where a file gave it; `place` the flag or variable as typed."""

    option: str | None
    place: str
    kind: str

    @property
    def replacement(self) -> str:
        """The next type above it that exists; eight bits for what is below five."""
        lower = self.kind.strip().lower()
        if lower in CACHE_TYPES:
            return lower
        if _WIDE.fullmatch(lower):
            return ("bf" if lower.startswith("b") else "f") + lower[-2:]
        found = _BITS.search(lower)
        bits = int(found[0]) if found is not None else 0
        return "f16" if bits in {16, 32} else "q5_1" if bits == 5 else "q8_0"

    @property
    def fix(self) -> str:
        """What to type instead."""
        if self.place in _BY_VARIABLE:
            return f"{self.place}={self.replacement}"
        return f"--{self.option} {self.replacement}" if self.option else f"{self.replacement} in the configuration file"


def refused_types(complaints: Sequence[str]) -> tuple[RefusedType, ...]:
    """Those that the engine's complaints are about."""
    found = []
    for complaint in complaints:
        match = _COMPLAINT.fullmatch(complaint)
        if match is None:
            continue
        place = match["place"] or ""
        spelled = BY_SPELLING.get(place)
        found.append(
            RefusedType(_BY_VARIABLE.get(place) or (spelled[0].name if spelled else None), place, match["kind"])
        )
    return tuple(found)


def with_meant_types(options: LaunchOptions) -> LaunchOptions:
    """The options with what was meant in place of refused types; `errors` stay."""
    meant = {
        it.option: LaunchOption(it.option, it.replacement, Origin.ASSUMED, it.place)
        for it in refused_types(options.errors)
        if it.option is not None
    }
    kept = tuple(option for option in options.options if option.name not in meant)
    return replace(options, options=(*kept, *meant.values()))
