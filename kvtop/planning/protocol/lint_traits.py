"""What a lint rule may ask of any engine, as data: how its cache grows, who may reach it, how a refusal is mended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kvtop.domain.launch import LaunchOptions

Changes = tuple[tuple[str, str | None], ...]
"""Options with new values; None takes one away."""


_SECRETS = {"api-key": "a file", "hf-token": "HF_TOKEN in the environment"}


class CacheProvision(StrEnum):
    """How an engine provides for keys and values."""

    CELLS = "cells"
    """All of them at the start, for slots."""
    POOL = "pool"
    """What is left of a share of the card, in blocks that requests take and give back."""
    GROWING = "growing"
    """As sequences grow."""
    UNKNOWN = "unknown"


def _no_settings(launch: LaunchOptions) -> None:
    del launch


def _no_refusal(launch: LaunchOptions) -> str:
    del launch
    return ""


def _is_exported(launch: LaunchOptions, *, has_slots: bool) -> Changes:
    del launch, has_slots
    return ()


def _no_mends(launch: LaunchOptions) -> tuple[Mapping[str, str | None], ...]:
    del launch
    return ()


def _no_remedy(launch: LaunchOptions, words: str) -> Changes | str:
    del launch, words
    return ""


@dataclass(frozen=True, slots=True)
class LintTraits:
    """One engine. The defaults are those of an engine that kvtop only watches.

    `title` is the version that the rules were checked on. `default_host` is where it listens unless told otherwise, ""
    where that is not known. `key_options` and `key_variables` set or name an API key, `key_words` say how to set one;
    `private_options` keep it off the network. `secret_options` are secrets that should not stand on a command line,
    with the better way. `idle_words` say how it gives its memory back. `cache_type_options` quantize its cache.

    `settings` are the typed settings that its rules read, a Refusal of them, or None without any. `options_refusal` are
    its words against options that it checks before it looks at a model. `mends` are what its refusals of options and
    model together are mended with, to plan what was meant. `checks_model` False: it starts with anything, and fails at
    a request. `unexported` gives the options that switch on what tells how full the cache is, () where something does.
    `remedy` is what to do about a refusal, by its words, as options or as words.
    """

    engine: str = ""
    title: str = "this engine"
    cache: CacheProvision = CacheProvision.UNKNOWN
    default_host: str = ""
    host_option: str = "host"
    key_options: tuple[str, ...] = ("api-key", "api-key-file")
    key_variables: tuple[str, ...] = ()
    key_words: str = "a proxy with a key before it"
    private_options: tuple[str, ...] = ()
    secret_options: Mapping[str, str] = field(
        default_factory=lambda: {"api-key": "a file", "hf-token": "HF_TOKEN in the environment"}
    )
    idle_words: str = "unload the model, or stop the server"
    cache_type_options: tuple[str, ...] = ()
    has_typed_settings: bool = False
    needs_device: bool = False
    checks_model: bool = True
    settings: Callable[[LaunchOptions], object] = _no_settings
    options_refusal: Callable[[LaunchOptions], str] = _no_refusal
    mends: Callable[[LaunchOptions], tuple[Mapping[str, str | None], ...]] = _no_mends
    unexported: Callable[..., Changes] = _is_exported
    remedy: Callable[[LaunchOptions, str], Changes | str] = _no_remedy
