"""Engines whose cache grows with each sequence: a plan has one, and a recommendation is for as many as required."""

from dataclasses import replace

from kvtop.domain.answers.what_if import DeviceChange, WhatIfComparison
from kvtop.domain.plan import Estimate
from kvtop.planning.registry import traits_of


def cache_grows(engine: str) -> bool:
    """Whether its cache is taken as requests need it."""
    traits = traits_of(engine)
    return traits is not None and traits.cache_grows


def of_many(compared: WhatIfComparison, users: int) -> WhatIfComparison:
    """The same comparison with the caches of `users` sequences."""

    def more(device: DeviceChange) -> DeviceChange:
        segments = tuple(
            replace(it, then_bytes=it.then_bytes * users)
            if it.segment in {"kv_cache", "recurrent_state"} and it.then_bytes is not None
            else it
            for it in device.segments
        )
        added = sum(
            (new.then_bytes or 0) - (old.then_bytes or 0) for new, old in zip(segments, device.segments, strict=True)
        )
        needed = None if device.needed is None else device.needed + Estimate(added, added, added)
        return replace(device, segments=segments, needed=needed)

    return replace(compared, devices=tuple(map(more, compared.devices)))
