"""What `--fit` answers: the parameters to load with, whether it succeeded, and every allocation that it tried."""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.planning.llamacpp.fit.replay.shares import Share
from kvtop.planning.llamacpp.fit.replay.trial import Parameters


class FitStatus(StrEnum):
    """How `common_fit_params` ended. The server goes on after everything but DIED."""

    SUCCESS = "success"
    """It does not mean that anything fits."""
    FAILURE = "failure"
    """A refusal, logged as a warning; what had been changed by then stays."""
    ERROR = "error"
    """The model could not be measured."""
    DIED = "died"
    """The process ends by SIGFPE: the engine divides by zero."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial allocation: layers by device, and the bytes used there."""

    shares: tuple[Share, ...]
    used_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FitAnswer:
    """`message` is "" or the engine's own words for a failure or an error."""

    status: FitStatus
    parameters: Parameters
    message: str = ""
    tried: tuple[Tried, ...] = ()


class FitRefusedError(Exception):
    """`common_params_fit_exception`: str() is the engine's sentence without its ", abort"."""
