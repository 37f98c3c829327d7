"""How long a server's answers were that have ended: what tells one that goes on and on from all others."""

from collections import deque
from dataclasses import dataclass, field

from kvtop.analysis.usage.limits import Answer
from kvtop.domain.server import Counters

REMEMBERED = 64
_MUCH_LONGER = 1.25


@dataclass(slots=True)
class AnswerLengths:
    """Of one server, as far as kvtop watched: lengths of single answers (slots), or the counters of all that ended."""

    ended: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _running: dict[tuple[int, int | None], tuple[int, bool]] = field(default_factory=dict)
    _first: tuple[float, float] | None = None
    mean: float | None = None

    def add(self, answers: dict[tuple[int, int | None], tuple[Answer, bool]], counters: Counters) -> None:
        """Note what runs, each with whether it stands at its limit; what has gone since then has ended."""
        for name, (generated, was_cut) in self._running.items():
            if name not in answers and not was_cut:
                self.ended.append(generated)
        self._running = {name: (answer.generated, is_cut) for name, (answer, is_cut) in answers.items()}
        requests, tokens = counters.ended_requests_total, counters.ended_generated_tokens_total
        if requests is None or tokens is None:
            return
        if self._first is None or requests < self._first[0]:
            self._first = (requests, tokens)
        more = requests - self._first[0]
        if more > 0:
            self.mean = (tokens - self._first[1]) / more
        elif requests > 0:
            self.mean = tokens / requests

    def is_beyond(self, generated: float) -> bool:
        """Whether an answer of this length is longer than those that ended; True where none has."""
        longest = max(self.ended, default=0)
        return generated >= _MUCH_LONGER * max(longest, self.mean or 0.0)
