"""The part of YAML that `vllm serve --config` files use: flat keys with scalars or lists.

Source: vLLM 0.32.0, `utils/argparse_utils.py` (`load_config_file`). kvtop reads these files without a YAML library:
anything nested is left out rather than guessed at.
"""

import re


def arguments_of(text: str) -> list[str]:
    """The file as command-line words; switches that are false are left out, as vLLM does."""
    words: list[str] = []
    key = ""
    for line in text.splitlines():
        stripped = _without_comment(line)
        if not stripped.strip() or stripped.strip() == "---":
            continue
        item = re.fullmatch(r"\s*-\s+(.*)", stripped)
        if item is not None and key:
            if words[-1:] == [] or f"--{key}" not in words:
                words.append(f"--{key}")
            words.append(_scalar(item.group(1)))
            continue
        pair = re.fullmatch(r"([\w.-]+)\s*:(?:\s+(.*))?", stripped)
        if pair is None:
            key = ""
            continue
        key, value = pair.group(1), (pair.group(2) or "").strip()
        if value:
            words += _words(key, value)
    return words


def _words(key: str, value: str) -> list[str]:
    if value.lower() in ("true", "yes", "on"):
        return [f"--{key}"]
    if value.lower() in ("false", "no", "off", "null", "~"):
        return []
    if value.startswith("[") and value.endswith("]"):
        return [f"--{key}", *(_scalar(part) for part in value[1:-1].split(",") if part.strip())]
    return [f"--{key}", _scalar(value)]


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _without_comment(line: str) -> str:
    quote = ""
    for position, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#" and (position == 0 or line[position - 1].isspace()):
            return line[:position].rstrip()
    return line.rstrip()
