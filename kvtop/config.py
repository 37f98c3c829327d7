"""The configuration: a TOML file in the XDG place, the environment over it, command-line flags over both.

Without a file nothing but the standard library is imported, so that `kvtop snapshot` starts quickly.
"""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

DEFAULT_TEXT = """\
# kvtop configuration. Every key is shown with its default; a command-line flag wins over the environment
# (KVTOP_INTERVAL, KVTOP_THEME, KVTOP_API_KEY), which wins over this file.

# Seconds between two refreshes, 0.5 or more.
#interval_seconds = 1.0

# A theme from `kvtop themes`, or from a file of your own in the themes/ folder beside this one. "" takes "dark",
# or the terminal's own palette where it has no more than 16 colours; NO_COLOR takes the colours away.
#theme = ""

# Look for servers among this machine's processes.
#discover = true

# Draw with ASCII characters only. "auto" does so when the locale is not UTF-8.
#ascii = "auto"

# Other keys for the dashboard: an id of docs/keys.md, and one key or several separated by commas.
#[keys]
#quit = "q"

# Endpoints to watch besides. The key is read from a file or an environment variable, never written here.
#[[servers]]
#url = "http://127.0.0.1:8080"
#api_key_file = "~/.config/kvtop/llama.key"
#api_key_env = "LLAMA_API_KEY"

# Rules of `kvtop lint` that you have decided against, by code or name, everywhere or for one server; say why.
# Without a rule, all of them for that server.
#[[suppress]]
#rule = "metrics-disabled"
#server = "127.0.0.1:8080"
#reason = "this one is scraped through the proxy"

# What `kvtop lint` asks, by code or name: only these rules (none named: all of them), and never those.
# --select and --ignore take the place of these lists.
#[lint]
#select = []
#ignore = ["metrics-disabled"]
"""


_LARGEST_BYTES = 1 << 20
"""Of a configuration or a key: nobody writes more, and a device never ends."""


class ConfigError(ValueError):
    """A configuration that cannot be used. str() names the file, the key and what would be accepted."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One `[[servers]]` entry: an endpoint, and where its key is."""

    url: str
    api_key_file: str | None = None
    api_key_env: str | None = None


@dataclass(frozen=True, slots=True)
class SuppressConfig:
    """One `[[suppress]]` entry: why not, a rule by code or name (None: all), and the server (None: all)."""

    reason: str
    rule: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class LintConfig:
    """The `[lint]` table: rules by code or name; no `select` means all."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """What a person may set. Times in seconds; `ascii` is "auto", "always" or "never"."""

    interval_seconds: float = 1.0
    theme: str = ""
    discover: bool = True
    ascii: str = "auto"
    servers: tuple[ServerConfig, ...] = field(default=())
    suppress: tuple[SuppressConfig, ...] = field(default=())
    lint: LintConfig = LintConfig()
    keys: Mapping[str, str] = field(default_factory=dict)
    """Id of a key of the dashboard -> other keys; the dashboard checks both."""


def config_directory(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/kvtop`, else `~/.config/kvtop`."""
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path(environ.get("HOME", "~")).expanduser() / ".config") / "kvtop"


def config_file(environ: Mapping[str, str], path: str | None = None) -> Path:
    """The file that is read: the named one, else `KVTOP_CONFIG`, else `config.toml` in the configuration directory."""
    named = path or environ.get("KVTOP_CONFIG")
    return Path(named).expanduser() if named else config_directory(environ) / "config.toml"


def load_config(environ: Mapping[str, str], path: str | None = None) -> Config:
    """The configuration from file and environment. A named file must exist; the default one need not.

    Raises ConfigError naming file and key.
    """
    file = config_file(environ, path)
    config = Config()
    # Not `Path.exists`: it raises where a folder may not be searched, and such a file is not there for us.
    if path or environ.get("KVTOP_CONFIG") or os.path.exists(file):  # noqa: PTH110
        config = _from_file(file)
    return _from_environment(config, environ)


def _from_file(file: Path) -> Config:
    try:
        text = _limited(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    return _checked(table, str(file))


def _limited(file: Path) -> str:
    """The text of a small file. Raises OSError, also for one without an end (/dev/zero); UnicodeDecodeError."""
    with file.open("rb") as stream:
        content = stream.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise OSError(f"more than {_LARGEST_BYTES >> 20} MiB")
    return content.decode("utf-8")


def _checked(table: Mapping[str, object], where: str) -> Config:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  costs 110 ms: only with a file

    try:
        config = TypeAdapter(Config).validate_json(_json(table), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        accepted = ", ".join(item.name for item in fields(_table_of(key)))
        if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            raise ConfigError(f"{where}: unknown key {key!r} (accepted: {accepted})") from error
        raise ConfigError(f"{where}: {key}: {first['msg']}, got {first['input']!r}") from error
    return _in_range(config, where)


def _table_of(key: str) -> type[ServerConfig | SuppressConfig | LintConfig | Config]:
    """The table that a key belongs to."""
    tables: dict[str, type[ServerConfig | SuppressConfig | LintConfig]] = {
        "servers": ServerConfig,
        "suppress": SuppressConfig,
        "lint": LintConfig,
    }
    name, dot, _ = key.partition(".")
    return tables.get(name, Config) if dot else Config


def _json(table: Mapping[str, object]) -> str:
    import json  # noqa: PLC0415  only with a file

    return json.dumps(table, default=str)


def _in_range(config: Config, where: str) -> Config:
    # Not `< 0.5`: TOML and float() both know nan and inf.
    if not 0.5 <= config.interval_seconds < math.inf:
        raise ConfigError(f"{where}: interval_seconds: must be 0.5 or more, got {config.interval_seconds}")
    if config.ascii not in {"auto", "always", "never"}:
        raise ConfigError(f"{where}: ascii: must be auto, always or never, got {config.ascii!r}")
    for entry in config.suppress:
        if not entry.reason.strip():
            raise ConfigError(f"{where}: suppress.reason: say why {entry.rule or entry.server!r} is suppressed")
        if entry.rule is None and entry.server is None:
            raise ConfigError(f"{where}: suppress: name a rule, a server, or both")
    for server in config.servers:
        check_url(server.url, f"{where}: servers.url")
    return config


def check_url(url: str, where: str) -> None:
    """Raises ConfigError, beginning with `where`, for what is no address of a server."""
    from urllib.parse import urlsplit  # noqa: PLC0415  only with a URL

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{where}: must start with http:// or https://, got {_without_user(url)!r}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        # What urlsplit says names what it stumbled over, which may be half of a password with a slash in it.
        reason = "its host or port is no such thing" if "'" in str(error) else str(error)
        raise ConfigError(f"{where}: {reason}, in {_without_user(url)!r}") from None
    if not host:
        raise ConfigError(f"{where}: names no host: {_without_user(url)!r}")


def _without_user(url: str) -> str:
    """An error is pasted into bug reports: it must not carry a password."""
    return url.rpartition("@")[2].partition("?")[0]


def _from_environment(config: Config, environ: Mapping[str, str]) -> Config:
    interval = environ.get("KVTOP_INTERVAL")
    if interval:
        try:
            config = replace(config, interval_seconds=float(interval))
        except ValueError as error:
            raise ConfigError(f"KVTOP_INTERVAL: must be a number of seconds, got {interval!r}") from error
        config = _in_range(config, "KVTOP_INTERVAL")
    theme = environ.get("KVTOP_THEME")
    return replace(config, theme=theme) if theme else config


def api_key(server: ServerConfig, environ: Mapping[str, str]) -> str | None:
    """The key of a configured endpoint, or None. Raises ConfigError when the named file cannot be read."""
    if server.api_key_env is not None:
        return environ.get(server.api_key_env)
    if server.api_key_file is None:
        return environ.get("KVTOP_API_KEY")
    file = Path(server.api_key_file).expanduser()
    try:
        return _limited(file).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else "not UTF-8 text"
        named = _without_user(server.url)
        raise ConfigError(f"{file}: api_key_file of {named} cannot be read: {why}") from error


def environment() -> Mapping[str, str]:
    """The process environment: the one read of it outside `sources`, because flags and files need it first."""
    return os.environ
