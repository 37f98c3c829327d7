"""Launch options of llama-server as the program itself reads them: files, then environment, then argv.

Source: `common_params_parse_ex` and `common_params_apply_system_config` (common/arg.cpp, b11434); every rule was held
against the program. Pure: the texts of the files come in as arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.commands.tolerant_argparse import without_values
from kvtop.planning.llamacpp.options.config_ini import DEFAULT, GLOBAL, parse_config_ini
from kvtop.planning.llamacpp.options.rules import ADDED_UP, FALSE, GREATEST, SHORTHANDS, TRUE
from kvtop.planning.llamacpp.options.settings_from import settings_of
from kvtop.planning.llamacpp.options.table import BY_SPELLING, OPTIONS, OptionSpec
from kvtop.planning.llamacpp.options.values import MASK, BadValueError, checked, whole
from kvtop.planning.llamacpp.rules.options_by_build import CAME, WENT, is_too_new

FLASH_ATTENTION_TAKES_A_VALUE = 6325
"""The first build whose `-fa` is followed by on, off or auto (#15434)."""

__all__ = ["MASK", "config_paths", "parse_llama_server", "settings_of"]

_BY_KEY: Mapping[str, tuple[OptionSpec, bool]] = {
    **{spec.variable: (spec, True) for spec in OPTIONS.values() if spec.variable is not None},
    **{word.lstrip("-"): found for word, found in BY_SPELLING.items()},
}
"""What a file may call an option: any spelling without its dashes, or its variable. Underscores are no dashes here."""


def config_paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The config.ini files that a llama-server with this environment reads, in order (fs_get_config_directory)."""
    own = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    directory = own.rstrip("/")
    return ("/etc/llama.cpp/config.ini", *([f"{directory}/llama.cpp/config.ini"] if directory else []))


def parse_llama_server(
    argv: Sequence[str],
    environ: Mapping[str, str],
    files: Sequence[tuple[str, str]] = (),
    *,
    strict: bool = False,
    build: int | None = None,
) -> LaunchOptions:
    """Effective options of a llama-server.

    `argv` is without the program's name. `files` are (path, text) of the config.ini files that exist, in the order the
    engine reads them. Values of secret options are masked. `errors` are what b11434 would print before it exits.
    `strict` makes words that it does not know errors too: right for a command that is yet to start, wrong for a process
    that runs, whose build may be another. `build`: the number of the one that is to start, whose own options count;
    None: b11434, or unknown.
    """
    reading = _Reading(strict=strict, build=build)
    for path, text in files:
        reading.read_file(path, text)
    reading.read_environment(environ)
    reading.read_argv(argv)
    return LaunchOptions("llama.cpp", tuple(reading.found.values()), tuple(reading.unknown), tuple(reading.errors))


@dataclass(slots=True)
class _Reading:
    strict: bool
    build: int | None = None
    found: dict[str, LaunchOption] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def read_file(self, path: str, text: str) -> None:
        """The global section, then the default one. Unknown keys are passed over: other programs share the file."""
        try:
            sections = parse_config_ini(path, text)
        except ValueError as error:
            self.errors.append(str(error))
            return
        for section in (GLOBAL, DEFAULT):
            options: dict[str, tuple[OptionSpec, bool, str]] = {}
            # Sorted maps in the engine: of two spellings of one option the later in the alphabet wins, and options
            # are applied in the order of their first spellings.
            for key, value in sorted(sections.get(section, {}).items()):
                match = _BY_KEY.get(key)
                if match is not None:
                    options[match[0].spellings[0]] = (*match, value)
                elif key != "version":
                    self.unknown.append(f"{path}: {key}")
            for _, (spec, is_on, value) in sorted(options.items()):
                self._from_file(path, spec, is_on, value)

    def _from_file(self, path: str, spec: OptionSpec, is_on: bool, value: str) -> None:
        if spec.kind == "flag":
            self._keep(spec, "true", Origin.FILE, path)
        elif spec.kind == "switch":
            self._keep(spec, "true" if (value in TRUE) is is_on else "false", Origin.FILE, path)
        elif spec.kind == "pair":
            self.errors.append("apply_to_params: option with two values is not supported yet")
        else:
            self._check(spec, value, Origin.FILE, path, "")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Variables in the order of the program's own list."""
        for spec in OPTIONS.values():
            if spec.variable is None:
                continue
            negative = spec.variable.replace("LLAMA_ARG_", "LLAMA_ARG_NO_")
            if spec.negatives and negative in environ:
                # Its mere presence means "off" (common_arg::get_value_from_env).
                self._keep(spec, "false", Origin.ENVIRONMENT, negative)
            elif spec.variable in environ:
                self._from_variable(spec, spec.variable, environ[spec.variable])

    def _from_variable(self, spec: OptionSpec, variable: str, value: str) -> None:
        where = f'error while handling environment variable "{variable}": '
        if spec.kind == "flag":
            if value in TRUE:
                self._keep(spec, "true", Origin.ENVIRONMENT, variable)
        elif spec.kind == "switch":
            if value in TRUE | FALSE:
                self._keep(spec, "true" if value in TRUE else "false", Origin.ENVIRONMENT, variable)
            else:
                self.errors.append(f"{where}invalid boolean value")
        else:
            self._check(spec, value, Origin.ENVIRONMENT, variable, where)

    def read_argv(self, argv: Sequence[str]) -> None:
        """Left to right; an option takes the next word whatever it looks like."""
        words = list(argv)
        index = 0
        while index < len(words):
            typed = words[index]
            word = typed.replace("_", "-") if typed.startswith("--") else typed
            index += 1
            match = BY_SPELLING.get(word)
            if match is not None and self.build is not None and is_too_new(word, self.build):
                self.errors.append(f"error: invalid argument: {word} (llama.cpp knows it from b{CAME[word][1]} on)")
            other = WENT.get(word)
            if match is None and other is not None and self.build is not None and other.is_known_to(self.build):
                self.unknown.append(word)
                index += other.values
                continue
            if match is None:
                if self.strict:
                    shown = without_values([word.partition("=")[0]]) if word.startswith("-") else word
                    self.errors.append(f"error: invalid argument: {shown}")
                index += self._skip_unknown(typed, words[index : index + 1])
                continue
            spec, is_on = match
            if spec.name == "flash-attn" and self.build is not None and self.build < FLASH_ATTENTION_TAKES_A_VALUE:
                self._keep(spec, "on", Origin.ARGV, typed)
                continue
            if spec.values == 0:
                self._keep(spec, "true" if is_on else "false", Origin.ARGV, typed)
                continue
            where = f'error while handling argument "{word}": '
            values = words[index : index + spec.values]
            index += spec.values
            if spec.kind == "pair" and values:
                self._pair(spec, values, typed, where)
            elif not values:
                self.errors.append(f"{where}expected value for argument")
            else:
                self._check(spec, values[0], Origin.ARGV, typed, where)

    def _pair(self, spec: OptionSpec, values: list[str], typed: str, where: str) -> None:
        if len(values) < spec.values:
            self.errors.append(f"{where}expected value for argument")
            return
        try:
            numbers = [str(whole(value)) for value in values]
        except BadValueError as error:
            self.errors.append(f"{where}{error}")
            return
        self._keep(spec, " ".join(numbers), Origin.ARGV, typed)

    def _skip_unknown(self, typed: str, following: list[str]) -> int:
        """An option of another build: its name is kept, what looks like its value is not. Returns the words skipped."""
        name, equals, _ = typed.partition("=")
        is_option = name.startswith("-")
        self.unknown.append(without_values([name]) if is_option else "(a word that is no option)")
        takes_next = is_option and not equals and following and not following[0].startswith("-")
        return 1 if takes_next else 0

    def _check(self, spec: OptionSpec, value: str, origin: Origin, detail: str, where: str) -> None:
        try:
            self._keep(spec, checked(spec, value), origin, detail)
        except BadValueError as error:
            self.errors.append(f"{where}{error}")

    def _keep(self, spec: OptionSpec, value: str, origin: Origin, detail: str) -> None:
        for name, implied in SHORTHANDS.get(spec.name, ()):
            self._keep(OPTIONS[name], implied, origin, detail)
        before = self.found.pop(spec.name, None)
        if before is not None and spec.name in ADDED_UP:
            value = f"{before.value},{value}"
        if before is not None and spec.name in GREATEST:
            value = str(max(int(before.value), int(value)))
        self.found[spec.name] = LaunchOption(spec.name, value, origin, detail)
