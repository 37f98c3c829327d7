"""`--web.config.file`: TLS and basic authentication as the official exporters of Prometheus take them.

Source: prometheus/exporter-toolkit, docs/web-configuration.md (v0.15). The file is YAML of two levels, of which these
keys are read; any other is refused, because who writes one expects it to hold.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from kvtop.io.passwords import Passwords

_TLS, _USERS = "tls_server_config", "basic_auth_users"
_TLS_KEYS = frozenset({"cert_file", "key_file", "client_ca_file", "client_auth_type", "min_version"})
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_FILE_BYTES = 1 << 20


class WebConfigError(Exception):
    """str() says what is wrong, and never a value: the file holds hashes of passwords."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How clients reach the exporter. `tls` None: in the clear. `passwords` None: nobody is asked for one."""

    tls: ssl.SSLContext | None = None
    passwords: Passwords | None = None


def read_web_config(path: Path) -> WebConfig:
    """The configuration in a file. Raises WebConfigError."""
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8"
        raise WebConfigError(reason) from None
    sections = _sections(text)
    tls = _context(sections[_TLS], path.parent) if _TLS in sections else None
    users = sections.get(_USERS)
    if users is None:
        return WebConfig(tls)
    try:
        return WebConfig(tls, Passwords(users))
    except ValueError as error:
        raise WebConfigError(f"{_USERS}: {error}") from None


def _sections(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split(" #")[0].rstrip()
        if not line.strip() or line.lstrip().startswith("#") or line == "---":
            continue
        key, colon, value = (part.strip().strip("\"'") for part in line.strip().partition(":"))
        if not colon or not key:
            raise WebConfigError(f"line {number}: not `key: value`")
        if not line.startswith((" ", "\t")):
            if key not in {_TLS, _USERS} or value not in {"", "{}"}:
                raise WebConfigError(f"line {number}: {_TLS} and {_USERS} are what kvtop reads")
            current = found.setdefault(key, {})
        elif current is None or key in current or not value:
            raise WebConfigError(f"line {number}: stands in no section, has no value, or stands there twice")
        else:
            current[key] = value
    unknown = sorted(found.get(_TLS, {}).keys() - _TLS_KEYS)
    if unknown:
        raise WebConfigError(f"{_TLS}: {unknown[0]} is not read; known are {', '.join(sorted(_TLS_KEYS))}")
    return found


def _context(keys: dict[str, str], folder: Path) -> ssl.SSLContext:
    if not {"cert_file", "key_file"} <= keys.keys():
        raise WebConfigError(f"{_TLS}: needs cert_file and key_file")
    kind = keys.get("client_auth_type", "NoClientCert")
    version = keys.get("min_version", "TLS12")
    if kind not in _CLIENTS or version not in _VERSIONS:
        raise WebConfigError(f"{_TLS}: client_auth_type is one of {', '.join(_CLIENTS)}; min_version TLS12 or TLS13")
    if kind != "NoClientCert" and "client_ca_file" not in keys:
        raise WebConfigError(f"{_TLS}: {kind} needs client_ca_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[version]
    context.verify_mode = _CLIENTS[kind]
    try:
        context.load_cert_chain(folder / keys["cert_file"], folder / keys["key_file"], password="")
        if "client_ca_file" in keys:
            context.load_verify_locations(folder / keys["client_ca_file"])
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise WebConfigError(f"{_TLS}: certificate or key cannot be used: {reason}") from None
    return context
