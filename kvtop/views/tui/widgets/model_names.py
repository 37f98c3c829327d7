"""Names of models, shortened by meaning to the columns there are."""

import re
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

from kvtop.views.tui.widgets.lines import clip

_QUANTIZATION = re.compile(
    r"[-_.]((?:UD-)?(?:IQ\d\w*|Q\d\w*|T?Q\d_\d|B?F16|FP16|FP8\w*|NVFP4|MXFP4\w*|AWQ|GPTQ\w*|INT[48]|W\dA\d+|\d+bit))$",
    re.IGNORECASE,
)
_PARAMETERS = re.compile(r"\d+(?:\.\d+)?[BM](?:-A\d+(?:\.\d+)?B)?(?![A-Za-z0-9])", re.IGNORECASE)
_WORD = re.compile(rf"{_PARAMETERS.pattern}|[^-_\s]+", re.IGNORECASE)
_FILLER = frozenset({"instruct", "it", "chat", "hf", "gguf"})
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_HASH_COLUMNS = 16
"""A word longer than this is no word: its start and its end tell it from others."""


def model_text(name: str | None, width: int) -> str:
    """The name in at most `width` columns: its family, number of parameters and quantization stay, the middle goes.

    Directories, ".gguf" and the shard number say nothing of the model and go first, then words like "Instruct", then
    the words in the middle, the last one first. Where that is not enough the quantization goes. No word is cut in two
    while one that is whole can be shown: "8B" must not become "8".
    """
    if not name:
        return "?"
    short = _SHARD.sub("", name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf"))
    if cell_len(short) <= width:
        return short
    fitting = (told for told in _shortened(short) if cell_len(told) <= width)
    return next(fitting, None) or _ends(short, width)


def _shortened(short: str) -> Iterator[str]:
    """Ever shorter forms of it, none with a word cut in two."""
    match = _QUANTIZATION.search(short)
    body = short[: match.start()] if match else short
    words = [(word.start(), word.group()) for word in _WORD.finditer(body)]
    if match:
        words.append((match.start(1), match.group(1)))
    if not words or max(len(text) for _, text in words) > _HASH_COLUMNS:
        return
    last = len(words) - 1
    sizes = {i for i, (_, text) in enumerate(words) if _PARAMETERS.fullmatch(text)}
    quantization = {last} if match else set()
    filler = {i for i, (_, text) in enumerate(words) if i and text.lower() in _FILLER}
    for sure in (sizes | quantization, sizes) if match else (sizes,):
        kept = set(range(len(words))) - filler - (quantization - sure)
        yield _told(short, words, kept)
        for index in range(last, 0, -1):
            if index in kept - sure:
                kept.remove(index)
                yield _told(short, words, kept)
    yield _told(short, words, {0})


def _told(short: str, words: list[tuple[int, str]], kept: set[int]) -> str:
    """The kept words as they stand in the name, an ellipsis for each run of others."""
    told, is_gap = "", False
    for index, (start, text) in enumerate(words):
        if index not in kept:
            is_gap = True
            continue
        told += ("…" if is_gap else short[start - 1] if index else "") + text
        is_gap = False
    return told + ("…" if is_gap else "")


def _ends(short: str, width: int) -> str:
    """Start and end, where words are of no use."""
    tail = short[-(width // 3) :] if width >= 9 else ""
    head = width - 1 - cell_len(tail)
    return clip(short, width) if head < 4 else set_cell_size(short, head).rstrip("-_.") + "…" + tail
