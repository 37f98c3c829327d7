"""The traits of every engine that kvtop has rules for; a new one is a line."""

from functools import lru_cache
from importlib import import_module

from kvtop.planning.engine_traits import EngineTraits

_ROOMS = {"llama.cpp": "llamacpp", "vllm": "vllm", "mlx": "mlx"}
PLANNED = tuple(_ROOMS)
_WATCHED = EngineTraits()


@lru_cache(maxsize=16)
def traits_of(engine: str) -> EngineTraits:
    """Of that engine; of one that is only watched, what is true of any.

    Its rules are loaded when they are first asked for: one engine's at a time, so that the dashboard is there at once.
    """
    room = _ROOMS.get(engine)
    if room is None:
        return _WATCHED
    traits: EngineTraits = import_module(f"kvtop.planning.{room}.traits").TRAITS
    return traits
