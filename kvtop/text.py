"""Numbers to words and back: bytes, tokens, ratios, durations. The only place where units are spelled."""

import re
from collections.abc import Iterable

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(i?)(b?)\s*", re.IGNORECASE)
_BANDWIDTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?([GT])B/s", re.IGNORECASE)
_COUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([km]?)\s*", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

UNKNOWN_TEXT = "?"
"""How unknown is written wherever a number would stand."""

TEXT_LIMIT = 400
"""Characters kept of any one text from outside: a model may be named with a megabyte."""

_UNDRAWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def without_controls(text: str) -> str:
    """The text with a replacement character for each control, bidi and zero-width character."""
    return _UNDRAWABLE.sub("\ufffd", text)


def visible(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text without control, bidi and zero-width characters, at most `limit` characters long."""
    shown = without_controls(text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def bytes_text(size_bytes: int | None) -> str:
    """At most eight columns, three significant digits or more: 235 MiB, 1.00 GiB, -12.5 MiB; "?" for unknown."""
    if size_bytes is None:
        return UNKNOWN_TEXT
    sign = "-" if size_bytes < 0 else ""
    value = float(abs(size_bytes))
    unit = 0
    while value >= 1023.5 and unit < len(_BINARY) - 1:
        value /= 1024
        unit += 1
    if unit == 0:
        return f"{sign}{int(value)} B"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{sign}{value:.{digits}f} {_BINARY[unit]}"


def tokens_text(tokens: float | None) -> str:
    """Tokens as people write context lengths: 512, 4096 -> 4k, 32768 -> 32k, 10752 -> 10.5k; "?" for unknown."""
    if tokens is None:
        return UNKNOWN_TEXT
    count = round(tokens)
    if abs(count) < 1024:
        return str(count)
    for power, suffix in ((2, "M"), (1, "k")):
        unit = 1024**power
        if abs(count) >= unit:
            value = count / unit
            return f"{value:.0f}{suffix}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}{suffix}"
    raise AssertionError("unreachable: every count of 1024 or more has a unit")


def ratio_text(ratio: float | None) -> str:
    """A ratio 0..1 as per cent without decimals below 100 %: 7%, 93%; "?" for unknown."""
    return UNKNOWN_TEXT if ratio is None else f"{ratio * 100:.0f}%"


def rate_text(per_second: float | None) -> str:
    """Tokens per second: 0, 7.4, 112; "?" for unknown."""
    if per_second is None:
        return UNKNOWN_TEXT
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else f"{per_second:.0f}"


def duration_text(seconds: float | None) -> str:
    """An age: 0s, 45s, 3m, 2h, 5d; "?" for unknown."""
    if seconds is None:
        return UNKNOWN_TEXT
    for unit_seconds, suffix in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit_seconds:
            return f"{int(seconds // unit_seconds)}{suffix}"
    return f"{int(max(seconds, 0))}s"


def latency_text(seconds: float | None) -> str:
    """A time to wait: 42ms, 0.42s, 4.2s, 42s; "?" for unknown."""
    if seconds is None:
        return UNKNOWN_TEXT
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.2f}s" if seconds < 0.995 else f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def countdown_text(seconds: float) -> str:
    """A time that is counted down, never rounded up by much: 0s, 28s, 55s, 1m55s, 9m40s, 12m, 3h.

    In steps of 5 s from half a minute and of 10 s from two minutes, so that it does not flicker.
    """
    if seconds >= 600:
        return duration_text(seconds)
    step = 1 if seconds < 30 else 5 if seconds < 120 else 10
    whole = int(max(seconds, 0) // step * step)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes and rest else f"{minutes}m" if minutes else f"{rest}s"


class UnusableTextError(ValueError):
    """A text that a person typed or wrote cannot be used. str() is one line: what is wrong, and what is accepted.

    It is told as the person's to mend. Any other ValueError is a fault of kvtop, and never told so.
    """


INT64_MAX = 2**63 - 1
"""The largest number that a program of ours stores; Python's own have no end, and foreign texts may hold any."""

PORT_MAX = 65_535


def plain_number(text: str | None, most: int = INT64_MAX) -> int | None:
    """The whole number that a text of ASCII digits writes; None for any other text, and for one above `most`.

    For texts of strangers: `int` takes digits of every script, and raises where there are more than 4300 of them.
    """
    if text is None or not text.isascii() or not text.isdigit():
        return None
    digits = text.lstrip("0")
    if len(digits) > len(str(most)):
        return None
    number = int(digits or "0")
    return number if number <= most else None


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """ "90", "90s", "10m", "1h30m", "2d" to seconds. Raises ValueError with what is accepted."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise UnusableTextError(f"not a duration: {text!r} (accepted: 90, 90s, 10m, 1h30m, 2d)")
    parts = [float(part or 0) for part in match.groups()]
    return sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))


def parse_bytes(text: str) -> int:
    """ "24GiB", "24G", "24g", "512MiB", "80 GB" (decimal only with a capital B and no i) to bytes.

    "24GB" means 24 * 10^9 as on a data sheet; "24G" and "24GiB" mean 24 * 2^30.

    Raises ValueError with what is accepted.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UnusableTextError(f"not a size: {text!r} (accepted: 24GiB, 24G, 512MiB, 80GB, or plain bytes)")
    number, unit, binary, byte = match.groups()
    power = _POWER[unit.lower()]
    step = 1000 if unit and byte and not binary else 1024
    return round(float(number) * float(step**power))


def parse_bandwidth(text: str) -> int:
    """ "936GB/s", "1.8 TB/s" to bytes per second, decimal as on a data sheet.

    Raises ValueError with what is accepted.
    """
    match = _BANDWIDTH.fullmatch(text.strip())
    found = 0 if match is None else round(float(match[1]) * {"G": 10**9, "T": 10**12}[match[2].upper()])
    if found < 10**9:
        raise UnusableTextError(f"not a bandwidth: {text!r} (accepted: 936GB/s, 1.8TB/s)")
    return found


def parse_tokens(text: str) -> int:
    """ "32k" -> 32768, "4096" -> 4096, "1m" -> 1048576. Raises ValueError with what is accepted."""
    match = _COUNT.fullmatch(text)
    if match is None:
        raise UnusableTextError(f"not a token count: {text!r} (accepted: 4096, 32k, 1m)")
    number, unit = match.groups()
    return round(float(number) * float(1024 ** _POWER[unit.lower()]))


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """ "; did you mean X?" for the candidate that looks most like the word, or "" where none does."""
    from difflib import get_close_matches  # noqa: PLC0415  only where a word is wrong

    # Without their dashes, which all options have alike.
    names = {name.lower().lstrip("-"): name for name in candidates}
    meant = word.lower().lstrip("-")
    # Beginnings are typed more often than misprints.
    found = [name for name in names if len(meant) > 2 and name.startswith(meant)]
    found = found or get_close_matches(meant, names, n=1, cutoff=0.6)
    return f"; did you mean {names[found[0]]}?" if found else ""
