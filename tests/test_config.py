"""Configuration: what is taken, and that a bad file is told of by file, key and what is accepted."""

from pathlib import Path

import pytest

from kvtop.config import Config, ConfigError, ServerConfig, api_key, check_url, load_config


def _file(tmp_path: Path, text: str) -> str:
    file = tmp_path / "kvtop.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_config({"XDG_CONFIG_HOME": str(tmp_path)}) == Config()


def test_a_whole_file(tmp_path: Path) -> None:
    text = 'interval_seconds = 2\ntheme = "light"\ndiscover = false\nascii = "always"\n'
    text += '[[servers]]\nurl = "http://h:1"\napi_key_env = "K"\n[keys]\nquit = "x"\n'
    expected = Config(2.0, "light", False, "always", (ServerConfig("http://h:1", api_key_env="K"),), keys={"quit": "x"})
    assert load_config({}, _file(tmp_path, text)) == expected


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, 'interval_seconds = 2.0\ntheme = "light"')
    config = load_config({"KVTOP_CONFIG": file, "KVTOP_INTERVAL": "3", "KVTOP_THEME": "dark"})
    assert (config.interval_seconds, config.theme) == (3.0, "dark")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("interval = 2", ["'interval'", "interval_seconds", "discover"]),
        ('interval_seconds = "2"', ["interval_seconds", "number"]),
        ("interval_seconds = 0.1", ["interval_seconds", "0.5"]),
        ("interval_seconds = nan", ["interval_seconds"]),
        ("interval_seconds = inf", ["interval_seconds"]),
        ('ascii = "yes"', ["ascii", "auto, always or never"]),
        ("discover = 1", ["discover", "boolean"]),
        ("[keys]\nquit = 1", ["keys.quit", "string"]),
        ("[[servers]]\napi_key_env = 'K'", ["servers.0.url"]),
        ("[[servers]]\nurl = 'h:1'", ["servers.url", "http://"]),
        ("[[servers]]\nurl = 'http://h'\nkey = 'x'", ["servers.0.key", "api_key_file"]),
        ("[[servers]]\nurl = 'http://h:99999'", ["servers.url", "Port out of range"]),
        ("[[servers]]\nurl = 'http://[::1'", ["servers.url", "IPv6"]),
        ("[[servers]]\nurl = 'http://'", ["servers.url", "names no host"]),
        ("= 1", ["not valid TOML"]),
    ],
)
def test_a_bad_file_is_told_of_by_file_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    file = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config({}, file)
    assert str(caught.value).startswith(file)
    assert all(word in str(caught.value) for word in words)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_config({}, str(tmp_path / "absent.toml"))


@pytest.mark.parametrize("word", ["soon", "0.1", "nan", "-1"])
def test_a_bad_variable_is_named(word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KVTOP_INTERVAL"):
        load_config({"KVTOP_INTERVAL": word, "XDG_CONFIG_HOME": str(tmp_path)})


def test_keys_come_from_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n", encoding="utf-8")
    assert api_key(ServerConfig("http://h", api_key_file=str(file)), {}) == "secret"
    assert api_key(ServerConfig("http://h", api_key_env="K"), {"K": "k"}) == "k"
    assert api_key(ServerConfig("http://h"), {"KVTOP_API_KEY": "k"}) == "k"
    with pytest.raises(ConfigError, match="api_key_file of http://h"):
        api_key(ServerConfig("http://h", api_key_file=str(tmp_path / "absent")), {})


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: cannot be read: more than 1 MiB"):
        load_config({}, "/dev/zero")


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "kvtop.toml"
    file.write_bytes(b"theme = '\xff'")
    with pytest.raises(ConfigError, match=r"kvtop\.toml: not UTF-8 text: .* at byte 9"):
        load_config({}, str(file))
    with pytest.raises(ConfigError, match="api_key_file of h:1 cannot be read: not UTF-8 text"):
        api_key(ServerConfig("http://me:hidden@h:1", api_key_file=str(file)), {})


def test_a_bad_address_is_told_of_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        check_url("http://me:hidden@h:99999/x?key=hidden", "--url")
    assert str(caught.value) == "--url: Port out of range 0-65535, in 'h:99999/x'"
