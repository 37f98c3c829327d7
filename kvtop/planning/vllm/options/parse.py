"""The command line of `vllm serve` 0.32.0, with argparse's own semantics.

Source: vLLM 0.32.0, `utils/argparse_utils.py` (FlexibleArgumentParser): underscores count as dashes, prefixes that name
one option are enough, `--a.b value` is a part of the JSON of `--a` (`-cc.b` of `-cc`), a `--config` file comes before
the command line.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.commands.tolerant_argparse import RaisingParser, parsed_as_meant, without_options, without_values
from kvtop.planning.versions import version_numbers
from kvtop.planning.vllm.options import former
from kvtop.planning.vllm.options.config_file import arguments_of
from kvtop.planning.vllm.options.environment import with_environment
from kvtop.planning.vllm.options.table import FLAGS, LISTS, OPTIONAL, SPELLINGS, TOGGLES, VALUES

ENGINE = "vllm"
_NEWEST = (0, 32)
"""The version whose options the table lists."""
SECRET_OPTIONS = frozenset({"api-key", "hf-token", "ssl-keyfile"})
"""Never kept: their values are, or lead to, keys."""
MASK = "***"
"""Stands for such a value: that it was given is no secret."""

_DEST = "recorded"


class _RecordOption(argparse.Action):
    """Keeps the last value of each option with the spelling it was given by."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        del parser
        spelled = option_string or ""
        if self.const == "toggle":
            text = "false" if spelled.startswith("--no-") else "true"
        elif values is None or (self.nargs == 0 and not values):
            text = "true"
        else:
            text = values if isinstance(values, str) else " ".join(str(value) for value in values)
        getattr(namespace, _DEST)[self.metavar] = (text, spelled)


@lru_cache(maxsize=2)
def _parser(*, is_older: bool = False) -> RaisingParser:
    parser = RaisingParser(prog="vllm serve", add_help=False)
    parser.add_argument("model_tag", nargs="?", default=None)
    kinds: tuple[tuple[Iterable[str], str | int | None, str | None], ...] = (
        (FLAGS, 0, None),
        (TOGGLES, 0, "toggle"),
        (VALUES, None, None),
        (LISTS, "+", None),
        (OPTIONAL, "?", None),
    )
    if is_older:
        kinds += ((former.FLAGS, 0, None), (former.VALUES, None, None))
    for names, nargs, const in kinds:
        for name in dict.fromkeys(names):
            spellings = SPELLINGS.get(name, (f"--{name}",))
            if const == "toggle":
                spellings += tuple(f"--no-{word[2:]}" for word in spellings if word.startswith("--"))
            parser.add_argument(
                *spellings, action=_RecordOption, nargs=nargs, const=const, metavar=name, dest=f"_{name}", default=None
            )
    return parser


def parse_serve_options(
    argv: Sequence[str],
    *,
    config_yaml: str | None = None,
    environ: Mapping[str, str] | None = None,
    version: str | None = None,
) -> LaunchOptions:
    """The options after `vllm serve`; values of secret options are dropped.

    `config_yaml`: the text of the `--config` file, which the command line overrides.
    `environ`: the server's environment, of which the variables that decide memory are taken.
    `version`: the engine's, where it is known; an older one takes options that the newest no longer has.
    Complaints land in `errors` in argparse's words, words nobody knows in `unknown`.
    """
    options: dict[str, LaunchOption] = {}
    unknown: list[str] = []
    errors: list[str] = []
    is_older = former.is_former(version_numbers(version), _NEWEST)
    parse = partial(_parsed, is_older=is_older)
    if config_yaml is not None:
        _collect(arguments_of(config_yaml), Origin.FILE, options, unknown, errors, parse)
    _collect(list(argv), Origin.ARGV, options, unknown, errors, parse)
    found = LaunchOptions(ENGINE, tuple(options.values()), tuple(unknown), tuple(errors))
    return with_environment(found, environ or {})


def _collect(
    words: list[str],
    origin: Origin,
    options: dict[str, LaunchOption],
    unknown: list[str],
    errors: list[str],
    parse: Callable[[list[str]], tuple[argparse.Namespace, list[str]]],
) -> None:
    meant = _normalise(words)
    found, complaints = parsed_as_meant(parse, meant)
    errors.extend(complaints)
    if found is None:
        return
    known, rest = found
    strange = [word.split("=", 1)[0] for word in rest if word.startswith("-")]
    if strange:
        # Of an option that this parser does not know it does not know either whether it takes a value. What follows it
        # may be one, and a secret, and would be taken for the model.
        again, _ = parsed_as_meant(parse, without_options(meant, strange))
        known = again[0] if again is not None else argparse.Namespace(model_tag=None, **{_DEST: {}})
        unknown.extend(map(without_values, ([name] for name in strange)))
        if not complaints:
            errors.append(f"unrecognized arguments: {without_values(rest)}")
    recorded: dict[str, tuple[str, str]] = getattr(known, _DEST)
    for name, (value, spelled) in recorded.items():
        options[name] = LaunchOption(name, MASK if name in SECRET_OPTIONS else value, origin, spelled)
    if known.model_tag is not None and origin is not Origin.FILE:  # a file names it by its key
        options["model"] = LaunchOption("model", known.model_tag, origin, "")


def _parsed(words: list[str], *, is_older: bool = False) -> tuple[argparse.Namespace, list[str]]:
    return _parser(is_older=is_older).parse_known_args(words, argparse.Namespace(**{_DEST: {}}))


_DOTTED = re.compile(r"-(?:O|[a-z]{1,4})\.[A-Za-z_]")
"""`-cc.mode=3`, `-ac.backend=X`, `-O.mode=3`: parts of an option that has a short name."""


def _normalise(words: list[str]) -> list[str]:
    """Dashes for underscores in names, `-O3` spelled out, dotted parts gathered into one JSON value."""
    plain: list[str] = []
    nested: dict[str, dict[str, object]] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("--") or _DOTTED.match(word):
            name, equals, value = word.partition("=")
            head, dot, path = name.partition(".")
            head = "-cc" if head == "-O" else head.replace("_", "-")
            if not dot:
                plain.append(head + equals + value)
                continue
            if not equals and position < len(words):
                value = words[position]
                position += 1
            _put(nested.setdefault(head, {}), path, value)
        elif re.fullmatch(r"-O=?\w+", word):
            plain += ["--optimization-level", word[2:].lstrip("=")]
        else:
            plain.append(word)
    for head, tree in nested.items():
        plain += [head, json.dumps(tree)]
    return plain


def _put(tree: dict[str, object], path: str, text: str) -> None:
    if path.endswith("+"):
        path, value = path[:-1], [*text.split(",")]
        leaf: object = value
    else:
        try:
            leaf = json.loads(text)
        except ValueError:
            leaf = text
    *parents, last = path.split(".")
    for parent in parents:
        deeper = tree.setdefault(parent, {})
        if not isinstance(deeper, dict):
            return
        tree = deeper
    tree[last] = leaf
