"""The command line of `mlx_lm.server` 0.32.2, with argparse's own semantics (prefixes, `=`, the last one wins).

Source: mlx-lm 0.32.2 `server.py` (main).
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.commands.tolerant_argparse import CommandLineError, RaisingParser, parsed_as_meant, without_values
from kvtop.text import INT64_MAX

ENGINE = "mlx"
WORDS = ("model", "adapter-path", "host", "allowed-origins", "draft-model", "chat-template")
WHOLE_NUMBERS = (
    *("port", "num-draft-tokens", "top-k", "max-tokens", "decode-concurrency", "prompt-concurrency"),
    *("prefill-step-size", "prompt-cache-size", "kv-bits", "kv-group-size", "quantized-kv-start"),
)
NUMBERS = ("temp", "top-p", "min-p")
FLAGS = ("trust-remote-code", "use-default-chat-template", "pipeline")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SIZE_UNITS: Mapping[str, int] = {"M": 10**6, "G": 10**9, "MB": 10**6, "GB": 10**9, "": 1}
_DEST = "recorded"


class _RecordValue(argparse.Action):
    """Keeps the last value of each option with the spelling it was given by."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        del parser
        text = "true" if self.nargs == 0 else str(values)
        getattr(namespace, _DEST)[self.dest] = (text, option_string or "")


def _json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        # argparse's words hold the value, which is for a template and may be a secret.
        raise argparse.ArgumentTypeError("invalid loads value: '***'") from None
    return text


_json.__name__ = "loads"


def size_bytes(text: str) -> int:
    """`--prompt-cache-bytes`: decimal units M, G, MB, GB or none.

    Raises:
        CommandLineError: no number, or a unit that mlx-lm does not know; it crashes with these words.
    """
    digits = text[: len(text) - len(text.lstrip("0123456789."))]
    unit = text[len(digits) :].strip().upper()
    try:
        amount = Decimal(digits)
    except InvalidOperation as error:
        raise CommandLineError("decimal.InvalidOperation: [<class 'decimal.ConversionSyntax'>]") from error
    if unit not in SIZE_UNITS:
        raise CommandLineError(f"KeyError: {unit!r}")
    return min(int(amount * SIZE_UNITS[unit]), INT64_MAX)  # no memory is larger


size_bytes.__name__ = "_parse_size"


@lru_cache(maxsize=1)
def _parser() -> RaisingParser:
    parser = RaisingParser(prog="mlx_lm.server", add_help=True)
    kinds: tuple[tuple[tuple[str, ...], Callable[[str], object]], ...] = (
        (WORDS, str),
        (WHOLE_NUMBERS, int),
        (NUMBERS, float),
        (("chat-template-args",), _json),
        (("prompt-cache-bytes",), size_bytes),
    )
    for names, kind in kinds:
        for name in names:
            parser.add_argument(f"--{name}", action=_RecordValue, type=kind, dest=name)
    for name in FLAGS:
        parser.add_argument(f"--{name}", action=_RecordValue, nargs=0, dest=name)
    parser.add_argument("--log-level", action=_RecordValue, choices=LOG_LEVELS, dest="log-level")
    return parser


def parse_server_options(argv: Sequence[str]) -> LaunchOptions:
    """The options after `mlx_lm.server`; complaints land in `errors` in its words, strange words in `unknown`."""
    found, complaints = parsed_as_meant(_parsed, argv)
    if found is None:
        return LaunchOptions(ENGINE, errors=complaints)
    known, rest = found
    recorded: dict[str, tuple[str, str]] = getattr(known, _DEST)
    options = tuple(LaunchOption(name, text, Origin.ARGV, spelled) for name, (text, spelled) in recorded.items())
    strange = tuple(without_values([word.partition("=")[0]]) for word in rest if word.startswith("-"))
    unrecognised = (f"unrecognized arguments: {without_values(rest)}",) if rest else ()
    return LaunchOptions(ENGINE, options, strange, complaints or unrecognised)


def _parsed(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    return _parser().parse_known_args(words, argparse.Namespace(**{_DEST: {}}))
