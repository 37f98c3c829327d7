"""The last door of `sources`: every text of a Sample is masked and cleaned once more before anybody sees it.

Each reader cleans what it copies. A reader that forgets leaks nothing, because this walk comes after all of them.
"""

from dataclasses import replace
from functools import lru_cache

from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.sample import Sample
from kvtop.domain.texts import with_texts
from kvtop.sources.redaction import clean, clean_value


def sealed(sample: Sample) -> Sample:
    """The Sample with every text from outside masked and cleaned. Model files are kept as they are: rules need them.

    Views make their names harmless where they show them.
    """
    return with_texts(
        sample,
        clean,
        {LaunchOptions: _launch, GgufHeader: lambda it: it, Checkpoint: lambda it: it, bytes: lambda it: it},
    )


def _launch(value: object) -> object:
    return _sealed_launch(value) if isinstance(value, LaunchOptions) else value


@lru_cache(maxsize=256)
def _sealed_launch(launch: LaunchOptions) -> LaunchOptions:
    return replace(
        launch,
        options=tuple(_sealed_option(option) for option in launch.options),
        unknown=tuple(map(clean, launch.unknown)),
        errors=tuple(map(clean, launch.errors)),
    )


def _sealed_option(option: LaunchOption) -> LaunchOption:
    return replace(option, value=clean_value(option.name, option.value), detail=clean(option.detail))
