"""An exception that no code of kvtop expects: a mistake of kvtop itself, described without any value it came across."""

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from opcode import opmap
from pathlib import PurePath
from types import CodeType, TracebackType

from kvtop.domain.sample import Failure

_PLACES_MOST = 100
"""Innermost calls kept of one traceback: an endless recursion has thousands."""
_CAUSES_MOST = 8
_MESSAGE_CHARACTERS = 200
_QUOTED = re.compile(r"'([^'\"]*)'|\"([^'\"]*)\"")
_FROM_QUOTE_TO_QUOTE = re.compile(r"['\"].*['\"]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` is the exception's type. `places` are "kvtop/sources/endpoints/http.py:64 in get", the innermost last.

    `message` is what the interpreter says of it, without the values that it quotes; "" where Python code wrote it: that
    may hold anything, and its place says what it is. `causes` are the exceptions that led to it, the nearest first.
    """

    kind: str
    message: str
    places: tuple[str, ...]
    causes: tuple["Fault", ...] = ()

    @property
    def title(self) -> str:
        """The fault in one line: "ValueError at kvtop/sources/endpoints/http.py:64"."""
        return f"{self.kind} at {self.places[-1].partition(' in ')[0]}" if self.places else self.kind

    @property
    def text(self) -> str:
        """The fault as a traceback of code locations, its causes below it."""
        lines = [f"{self.kind}: {self.message}" if self.message else self.kind]
        lines += [f"  {place}" for place in self.places]
        for cause in self.causes:
            lines += ["caused by", cause.text]
        return "\n".join(lines)


def fault_of(error: BaseException) -> Fault:
    """The description of an exception. A group of exceptions is described by the first in it that is no group."""
    chain: list[Fault] = []
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen and len(chain) <= _CAUSES_MOST:
        seen.add(id(following))
        while isinstance(following, BaseExceptionGroup):
            following = following.exceptions[0]
        chain.append(_alone(following))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return Fault(chain[0].kind, chain[0].message, chain[0].places, tuple(chain[1:]))


def failure_of(source: str, error: BaseException, doing: str, kept: str = "") -> Failure:
    """A fault that concerns one process, file or server only, as a line on Sources; everything else goes on.

    `source` names it ("pid 12 vLLM"), `doing` is what failed ("reading its command line"), `kept` says where more is.
    """
    return Failure(source, f"{doing}: internal error of kvtop ({fault_of(error).title})", kept)


def _alone(error: BaseException) -> Fault:
    steps = list(_steps(error.__traceback__))
    places = tuple(_place(step) for step in steps[-_PLACES_MOST:])
    return Fault(type(error).__name__, _message(error, steps[-1] if steps else None), places)


def _steps(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _place(step: TracebackType) -> str:
    """File, line and function; of a path only what lies inside the package that was installed."""
    code = step.tb_frame.f_code
    module = step.tb_frame.f_globals.get("__name__")
    path = PurePath(code.co_filename)
    depth = len(module.split(".")) if isinstance(module, str) and module != "__main__" else 1
    parts = path.parts[-(depth + (path.stem == "__init__")) :]
    return f"{'/'.join(parts)}:{step.tb_lineno} in {code.co_qualname}"


def _message(error: BaseException, innermost: TracebackType | None) -> str:
    """What the interpreter itself said. A text that was made by Python code may be somebody's: it is left out."""
    if innermost is None or _is_raised(innermost.tb_frame.f_code, innermost.tb_lasti):
        return ""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  a type of exception whose text is itself at fault
        return ""
    names = _names(innermost)
    if not all((first or second) in names for first, second in _QUOTED.findall(text)) or text.count("'") % 2:
        text = _FROM_QUOTE_TO_QUOTE.sub("…", text)
    return text.translate(_NO_CONTROLS)[:_MESSAGE_CHARACTERS]


_NO_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")


def _is_raised(code: CodeType, at: int) -> bool:
    """Whether the instruction is a `raise` (or an `assert`), so that the exception was made by Python code."""
    return 0 <= at < len(code.co_code) and code.co_code[at] in {opmap["RAISE_VARARGS"], opmap["RERAISE"]}


def _names(step: TracebackType) -> frozenset[str]:
    """Names that a quotation may be without being a value: those of the code itself, and of Python's own types."""
    code = step.tb_frame.f_code
    types = (name for name, value in vars(builtins).items() if isinstance(value, type))
    return frozenset((*types, "NoneType", *code.co_names, *code.co_varnames, *code.co_freevars))


class LimitExceededError(BaseException):
    """Raised into the work itself, from outside. No `except Exception` on the way may take it for an error of its own.

    str() says which limit: "more than 5 s", "more than 512 MiB".
    """
