"""A command as it stands in a script: one simple command of a shell line, without what the shell itself would take.

Not a shell: words, quotes, comments, `\\` at the end of a line, redirections, and what separates commands. Variables
are replaced where a value or a default is known and stay as they are elsewhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kvtop.text import UnusableTextError

_SEPARATORS = (";;", "&&", "||", "|&", ";", "|", "&", "\n", "(", ")")
_REDIRECTION = re.compile(r"\d*(?:<<<|<>|>>|>\||>&|<&|<|>)|&>>?")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?[-=]([^{}]*))?\})")
_ARGUMENTS = ('"$@"', '"${@}"', "$@", "$*")
"""What a script was called with: nothing that is known here."""
_KEYWORDS = frozenset({"{", "}", "!", "if", "then", "else", "do", "done", "fi", "while", "until"})
_EXPORTS = frozenset({"export", "declare", "local", "readonly"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(slots=True)
class _LineReader:
    text: str
    environ: Mapping[str, str]
    commands: list[list[str]] = field(default_factory=lambda: [[]])
    word: list[str] | None = None
    """The parts of the word that is being read; None between words."""
    drops_next: bool = False
    """The next word is a redirection's target."""

    def end_word(self) -> None:
        if self.word is not None:
            if not self.drops_next:
                self.commands[-1].append("".join(self.word))
            self.word, self.drops_next = None, False

    def put(self, text: str) -> None:
        self.word = [*(self.word or []), text]

    def read(self) -> list[list[str]]:
        index = 0
        while index < len(self.text):
            index = self._step(index)
        self.end_word()
        return [command for command in self.commands if command]

    def _step(self, index: int) -> int:
        char = self.text[index]
        if self.text.startswith("\\\n", index):
            return index + 2
        if char == "\\":
            self.put(self.text[index + 1 : index + 2])
            return index + 2
        arguments = next((it for it in _ARGUMENTS if self.text.startswith(it, index)), None)
        if arguments is not None:
            return index + len(arguments)
        if char in "'\"":
            return self._quoted(index, char)
        if char == "$":
            return self._variable(index)
        if char == "#" and self.word is None:
            end = self.text.find("\n", index)
            return len(self.text) if end < 0 else end
        redirection = _REDIRECTION.match(self.text, index)
        if redirection is not None and (self.word is None or not redirection[0][0].isdigit()):
            self.end_word()
            self.drops_next = True
            return redirection.end()
        separator = next((it for it in _SEPARATORS if self.text.startswith(it, index)), None)
        if separator is not None:
            self.end_word()
            self.commands.append([])
            return index + len(separator)
        if char.isspace():
            self.end_word()
            return index + 1
        self.put(char)
        return index + 1

    def _quoted(self, index: int, quote: str) -> int:
        self.put("")
        index += 1
        while index < len(self.text) and self.text[index] != quote:
            char = self.text[index]
            if quote == '"' and char == "\\" and self.text[index + 1 : index + 2] in {'"', "\\", "$", "`", "\n"}:
                self.put(self.text[index + 1].replace("\n", ""))
                index += 2
            elif quote == '"' and char == "$":
                index = self._variable(index)
            else:
                self.put(char)
                index += 1
        if index >= len(self.text):
            raise UnusableTextError("No closing quotation")
        return index + 1

    def _variable(self, index: int) -> int:
        match = _VARIABLE.match(self.text, index)
        if match is not None:
            name = match[1] or match[2]
            known = self.environ.get(name) or match[3]
            self.put(match[0] if known is None else known)
            return match.end()
        end = _after_parentheses(self.text, index + 1) if self.text.startswith("$(", index) else index + 1
        self.put(self.text[index:end])
        return end


def _after_parentheses(text: str, index: int) -> int:
    depth = 0
    for position in range(index, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth == 0:
            return position + 1
    return len(text)


def simple_commands(text: str, environ: Mapping[str, str]) -> list[list[str]]:
    """The commands of a text in order, each with the variables that were set for it before. Raises ValueError."""
    found: list[list[str]] = []
    variables: list[str] = []
    for command in _LineReader(text, environ).read():
        words = list(command)
        while words and words[0] in _KEYWORDS:
            words.pop(0)
        assigned = words[1:] if words[:1] and words[0] in _EXPORTS else words
        if assigned and all(_ASSIGNMENT.match(word) for word in assigned):
            variables += assigned
        elif words:
            found.append([*variables, *words])
    return found


def unknown_variables(words: list[str]) -> list[str]:
    """What is left of variables without a value here, as typed: `$CTX`, `${CTX}`."""
    return [match[0] for word in words for match in _VARIABLE.finditer(word)]
