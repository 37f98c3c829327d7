"""llama.cpp's config.ini as the program itself reads it (`parse_ini_from_file`, common/preset.cpp, b11434).

Stricter than most: keys start at the first column, a line that is none of header, key, comment or blank spoils the
file, and a section named twice keeps only its last part.
"""

import re
from collections.abc import Mapping

from kvtop.text import UnusableTextError

GLOBAL, DEFAULT = "*", "default"

_LINE_END = r"[ \t]*(?:[;#].*)?"
_HEADER = re.compile(rf"\[[ \t]*([^\]]+)\]{_LINE_END}")
_PAIR = re.compile(rf"([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*(.*?){_LINE_END}")
_BLANK = re.compile(_LINE_END)


def parse_config_ini(path: str, text: str) -> Mapping[str, Mapping[str, str]]:
    """Section -> key -> value. Keys above any header are in section "default".

    Raises ValueError in the engine's words when a line is not understood.
    """
    sections: dict[str, dict[str, str]] = {}
    current = DEFAULT
    for line in re.split(r"\r\n|\n|\r", text):
        header = _HEADER.fullmatch(line)
        pair = _PAIR.fullmatch(line)
        if header is not None:
            current = header[1]
            sections[current] = {}
        elif pair is not None:
            sections.setdefault(current, {})[pair[1]] = pair[2]
        elif _BLANK.fullmatch(line) is None:
            raise UnusableTextError(f"failed to parse server config file: {path}")
    return sections
