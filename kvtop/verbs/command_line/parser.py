"""argparse with the manners of a good command: a verb's own usage, "did you mean", options on both sides of a verb."""

import argparse
from collections.abc import Iterable, Sequence

from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpFormatter

TYPE_CHECKING = False  # typing's own constant takes 6 ms of the 60 that `kvtop --version` may take
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose complaints name the verb they are about and the word that was probably meant."""

    def __init__(self, **options: object) -> None:
        super().__init__(formatter_class=HelpFormatter, **options)  # type: ignore[arg-type]

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but what a verb does not know is the verb's own complaint, not that of the whole program."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}{self._meant(left)}")
        return found, left

    def error(self, message: str) -> "NoReturn":
        """Usage and one sentence on standard error; exit code 2."""
        import sys  # noqa: PLC0415  only where something is wrong

        self.print_usage(sys.stderr)
        self.exit(exit_codes.USAGE, f"{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        from kvtop.text import did_you_mean  # noqa: PLC0415  only where something is wrong

        words = [str(choice) for choice in choices]
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(
                None, f"no command {str(value)!r}{did_you_mean(str(value), words)} (kvtop --help lists them)"
            )
        raise argparse.ArgumentError(
            action, f"invalid choice: {str(value)!r}{did_you_mean(str(value), words)} (choose from {', '.join(words)})"
        )

    def refuse_unknown(self, words: Sequence[str]) -> None:
        """Complain of the first option that is none: argparse would take its value for a command."""
        names = [word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1]
        for name in names:
            if not any(known.startswith(name) for known in self._option_string_actions):
                self.error(f"unrecognized arguments: {name}{self._meant([name])}")

    def _meant(self, left: Sequence[str]) -> str:
        from kvtop.text import did_you_mean  # noqa: PLC0415  only where something is wrong

        flag = next((word.partition("=")[0] for word in left if word.startswith("-")), None)
        return "" if flag is None else did_you_mean(flag, self._option_string_actions)


def with_verb_first(parser: Parser, words: Sequence[str], verbs: Iterable[str]) -> list[str]:
    """`kvtop --config FILE snapshot` as `kvtop snapshot --config FILE`: a verb's options may stand before it too."""
    known = frozenset(verbs)
    before: list[str] = []
    rest = list(words)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        if word in known:
            return [word, *before, *rest]
        action = parser._option_string_actions.get(word)
        if action is not None and action.nargs in {None, "?"}:
            is_optional = action.nargs == "?"
            if rest and not (is_optional and (rest[0].startswith("-") or rest[0] in known)):
                before += [word, rest.pop(0)]
            else:
                # A bare `--demo` must not take the verb's own first word for its value.
                before.append(f"{word}=" if is_optional else word)
        elif word.startswith("-") or (before and before[-1].startswith("-")):
            before.append(word)  # an option of the verb, or its value
        else:
            break
    parser.refuse_unknown(before)
    return list(words)
