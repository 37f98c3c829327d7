"""Colours for the plain texts of commands, laid over them afterwards: a text is the same with colours and without.

Only the sixteen colours of the terminal's own palette: they follow its theme, light or dark.
"""

import re
from collections.abc import Mapping

_GOOD, _WARNING, _BAD, _STRONG, _FAINT = "32", "33", "1;31", "1", "2"

_STYLES = {"bad": _BAD, "warning": _WARNING, "good": _GOOD, "strong": _STRONG, "faint": _FAINT}

_PLAN = r"""
(?P<bad>does\ not\ fit[^\n]*|no\ context\ fits|would\ refuse\ to\ start|the\ server\ will\ run\ out\ of\ memory)
|(?P<warning>^[ ]+fits\ unless\ the\ estimate\ is\ at\ its\ high\ end|^\d+\ (?:errors?|warnings?)\b[^\n]*|\btight\b)
|(?P<good>\bfits,\ [^\n]*\ left$)
|(?P<strong>\A[^\n]+|^[\w.]+(?=\n[├|])|^gpu\d+[^\n]*(?=\n[├|])|^largest\ context\ that\ fits:[^\n;]*)
|(?P<faint>^note:[^\n]*(?:\n[ ]{6}[^\n]+)*|\ (?:computed|estimated|unknown)\b[^\n]*$|^[├└|`]─?-?\ )
"""
_LINT = r"""
(?P<bad>^[ ]+error:[^\n]*|\b[1-9]\d*\ errors?\b)
|(?P<warning>^[ ]+warning:[^\n]*|\b[1-9]\d*\ warnings?\b)
|(?P<good>\b0\ errors,\ 0\ warnings\b)
|(?P<strong>^[ ]+info:[^\n]*|^[ ]+fix:(?=\ )|^(?!suppressed)\S[^\n]*(?=\n[ ]{2}))
|(?P<faint>^[ ]+not\ evaluated:[^\n]*\n[^\n]*|^[ ]+(?:evidence|cost):(?=\ )|^suppressed:[^\n]*)
"""
_RECOMMEND = r"""
(?P<bad>^no\ configuration\ fits)
|(?P<warning>\bfits\ unless\ the\ estimate\ is\ at\ its\ high\ end|\btight\b)
|(?P<strong>\A[^\n]+|^\d+\.\ [^\n:]*|^[ ]+command[ ]+[^\n]*)
|(?P<good>(?<=:\ )fits$)
|(?P<faint>^[ ]+(?:why|quality|speed)\b|^(?:left\ out|note):[^\n]*)
"""
_DOCTOR = r"""
(?P<bad>^[ ]+FAILED\b|^\d+\ of\ \d+\ probes\ failed)
|(?P<warning>^[ ]+do:[^\n]*)
|(?P<good>^[ ]+ok\b|^all\ well\b[^\n]*)
|(?P<strong>\A[^\n]+|^(?:drivers|processes|endpoints|model\ files)$)
|(?P<faint>^[ ]+note\b|^[ ]+nothing\ to\ look\ at)
"""
_DIFF = r"""
(?P<good>^no\ difference\b[^\n]*|^[ ]{4}\+\ [^\n]*)
|(?P<bad>^[ ]{4}-\ [^\n]*)
|(?P<strong>^[AB]\ \ [^\n]*|^\S[^\n]*:\ [a-z]+$)
|(?P<faint>[ ]{2}(?:within\ the\ tolerance|not\ known|changes\ on\ its\ own[^\n]*)$)
"""
_LEDGER = r"""
(?P<bad>^[ ]+error\ KVT\d+[^\n]*|\b(?:unreachable|lost)\b[^\n]*$)
|(?P<warning>^[ ]+warning\ KVT\d+[^\n]*|^not\ read:[^\n]*|^not\ looked\ at\ yet:[^\n]*)
|(?P<strong>\A[^\n]+|^\S[^\n]*(?=\n[ ]{2}))
|(?P<faint>[ ]{2}(?:measured|computed|reported|estimated|residual|unknown)\b[^\n]*$|^[ ]+[├└|`]─?-?\ )
"""
_PATTERNS = {
    "plan": _PLAN,
    "lint": _LINT,
    "recommend": _RECOMMEND,
    "doctor": _DOCTOR,
    "diff": _DIFF,
    "ledger": _LEDGER,
}
"""By the kind of text: what is bad news, a warning, good news, a heading, or of little weight."""


def wants_colour(when: str, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether to colour. `when` is "auto", "always" or "never"; a flag wins over the environment.

    NO_COLOR (no-color.org) wins over FORCE_COLOR and CLICOLOR_FORCE, and those over what the output is.
    """
    if when != "auto":
        return when == "always"
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in {"", "0"} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    if environ.get("CLICOLOR") == "0" or environ.get("TERM", "") in {"dumb", ""}:
        return False
    return is_terminal


def coloured(text: str, kind: str) -> str:
    """The text with escape codes around what matters. Raises KeyError for a kind that is none."""
    return re.sub(_PATTERNS[kind], _styled, text, flags=re.MULTILINE | re.VERBOSE)


def _styled(found: re.Match[str]) -> str:
    # A style ends with its line: a pager shows lines alone.
    code = _STYLES[found.lastgroup or "strong"]
    return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if line else line for line in found[0].split("\n"))
