"""Launch options of llama-server as the program itself reads them: files, then environment, then argv.

Order and error texts: common/arg.cpp and facts measured on b11434. Pure: the texts of the files come in as arguments.
"""

import configparser
from collections.abc import Iterable, Mapping, Sequence

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.option_table import BY_SPELLING, OPTIONS, PRIVATE, SECRETS, OptionSpec
from kvtop.planning.llamacpp.settings_from import settings_of

__all__ = ["CONFIG_FILES", "parse_llama_server", "settings_of"]

CONFIG_FILES = ("/etc/llama.cpp/config.ini", "$XDG_CONFIG_HOME/llama.cpp/config.ini", "~/.config/llama.cpp/config.ini")
"""Where llama-server looks, in order; of the last two the first that applies."""

MASK = "***"
_TRUE = frozenset({"on", "enabled", "true", "1"})
_FALSE = frozenset({"off", "disabled", "false", "0"})
_FLASH_AUTO = frozenset({"auto", "-1"})


class _BadValueError(ValueError):
    """The engine's own words for a value it will not take."""


def parse_llama_server(
    argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]] = ()
) -> LaunchOptions:
    """Effective options of a llama-server.

    `argv` is without the program's name. `files` are (path, text) of the config.ini files that exist, in the order the
    engine reads them. Values of secret options are masked; `errors` are what the engine would print before it exits.
    """
    found: dict[str, LaunchOption] = {}
    errors: list[str] = []
    unknown: list[str] = []
    for path, text in files:
        _read_file(path, text, found, errors, unknown)
    _read_environment(environ, found, errors)
    _read_argv(argv, found, errors, unknown)
    return LaunchOptions("llama.cpp", tuple(found.values()), tuple(unknown), tuple(errors))


def _read_file(path: str, text: str, found: dict[str, LaunchOption], errors: list[str], unknown: list[str]) -> None:
    """Keys of the default section and of `[*]` are long option names."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True, default_section="*")
    try:
        parser.read_string(f"[*]\n{text}" if not text.lstrip().startswith("[") else text)
    except configparser.Error as error:
        errors.append(f"{path}: {error.message.splitlines()[0]}")
        return
    for key, value in parser.defaults().items():
        spec_on = BY_SPELLING.get(f"--{key.replace('_', '-')}") or BY_SPELLING.get(f"-{key}")
        if spec_on is None:
            unknown.append(f"{path}: {key}")
            continue
        spec, is_on = spec_on
        text_value = value or "true"
        if not is_on:
            text_value = "false" if text_value.lower() in _TRUE else "true"
        _keep(spec, text_value, Origin.FILE, path, found, errors, f'"{key}"')


def _read_environment(environ: Mapping[str, str], found: dict[str, LaunchOption], errors: list[str]) -> None:
    for spec in OPTIONS.values():
        if spec.variable is None:
            continue
        negative = spec.variable.replace("LLAMA_ARG_", "LLAMA_ARG_NO_")
        if spec.negatives and negative in environ:
            # Its mere presence means "off" (common_arg::get_value_from_env).
            _keep(spec, "false", Origin.ENVIRONMENT, negative, found, errors, "")
        elif spec.variable in environ:
            value = environ[spec.variable]
            _keep(
                spec, value, Origin.ENVIRONMENT, spec.variable, found, errors, f'environment variable "{spec.variable}"'
            )


def _read_argv(argv: Sequence[str], found: dict[str, LaunchOption], errors: list[str], unknown: list[str]) -> None:
    words = list(argv)
    index = 0
    while index < len(words):
        typed = words[index]
        word = typed.replace("_", "-") if typed.startswith("--") else typed
        index += 1
        match = BY_SPELLING.get(word)
        if match is None:
            index += _skip_unknown(typed, words[index:], unknown)
            continue
        spec, is_on = match
        if spec.values == 0:
            _keep(spec, "true" if is_on else "false", Origin.ARGV, typed, found, errors, "")
            continue
        if index + spec.values > len(words):
            errors.append(f'error while handling argument "{typed}": expected value for argument')
            return
        value = " ".join(words[index : index + spec.values])
        index += spec.values
        _keep(spec, value, Origin.ARGV, typed, found, errors, f'argument "{typed}"')


def _skip_unknown(typed: str, rest: list[str], unknown: list[str]) -> int:
    """An option of another build: its name is kept, what looks like its value is not. Returns the words skipped."""
    name, _, _ = typed.partition("=")
    unknown.append(name if name.startswith("-") else "(a word that is no option)")
    follows = rest[0] if rest else ""
    return 1 if name.startswith("-") and "=" not in typed and follows and not follows.startswith("-") else 0


def _keep(
    spec: OptionSpec,
    value: str,
    origin: Origin,
    detail: str,
    found: dict[str, LaunchOption],
    errors: list[str],
    where: str,
) -> None:
    try:
        checked = _checked(spec, value)
    except _BadValueError as error:
        errors.append(f"error while handling {where}: {error}")
        return
    if spec.name in found:
        # Several --override-tensor and --spec-type add up; everything else is replaced by the last word.
        before = found[spec.name]
        if spec.name in {"override-tensor", "spec-type"} and origin is before.origin is Origin.ARGV:
            checked = f"{before.value},{checked}"
        del found[spec.name]
    found[spec.name] = LaunchOption(spec.name, checked, origin, detail)


def _checked(spec: OptionSpec, value: str) -> str:
    """The value as the engine understands it. Raises _BadValueError in the engine's words."""
    if spec.name in SECRETS or spec.name in PRIVATE:
        return MASK
    lowered = value.lower()
    if spec.name == "flash-attn":
        return _flash_attention(lowered, value)
    if spec.name in {"cache-type-k", "cache-type-v", "spec-draft-type-k", "spec-draft-type-v"}:
        if value not in CACHE_TYPES:
            raise _BadValueError(f"Unsupported cache type: {value}")
        return value
    if spec.name == "fit":
        return "on" if lowered in _TRUE else "off" if lowered in _FALSE else _refuse_bool("--fit", value)
    if spec.values == 0:
        if lowered in _TRUE:
            return "true"
        if lowered in _FALSE:
            return "false"
        raise _BadValueError("invalid boolean value")
    if spec.name in _INTEGERS:
        return _integer(value)
    return value


_INTEGERS = frozenset(
    {"ctx-size", "parallel", "batch-size", "ubatch-size", "kv-unified-per-slot", "n-cpu-moe", "n-cpu-ffn", "main-gpu"}
    | {"spec-draft-n-max", "fit-ctx"}
)


def _integer(value: str) -> str:
    """Leading digits count and the rest is ignored, as C++'s std::stoi does; none at all is its error "stoi"."""
    text = value.strip()
    digits = ""
    for position, character in enumerate(text):
        if character.isdigit() or (position == 0 and character in "+-"):
            digits += character
        else:
            break
    if not any(character.isdigit() for character in digits):
        raise _BadValueError("stoi")
    return str(int(digits))


def _flash_attention(lowered: str, value: str) -> str:
    if lowered in _TRUE:
        return "on"
    if lowered in _FALSE:
        return "off"
    if lowered in _FLASH_AUTO:
        return "auto"
    raise _BadValueError(f"error: unknown value for --flash-attn: '{value}'")


def _refuse_bool(flag: str, value: str) -> str:
    raise _BadValueError(f"error: unknown value for {flag}: '{value}'")


def spelled(options: Iterable[LaunchOption]) -> str:
    """Options as one line of words, for messages."""
    return " ".join(f"--{option.name} {option.value}" for option in options)
