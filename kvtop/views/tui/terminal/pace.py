"""Does the terminal keep up? It is asked after what was drawn, and nothing new is drawn before it has answered.

Over a slow line the bytes of a frame lie in the buffers of the kernel, of ssh and of the network, where nobody sees
them; only an answer says that they have arrived. The question is the report of the cursor's place (`CSI 6 n`, DEC
VT100), which every terminal in use answers. One that never does is drawn to at the usual pace.
"""

QUESTION = "\x1b[6n"
PATIENCE_SECONDS = 1.0
"""How long an unknown terminal may take for its first answer."""
HELD_SECONDS = 10.0
"""How long a terminal that has answered before is waited for: a frame every ten seconds shows that kvtop lives."""


class TerminalPace:
    """Times are seconds of one monotonic clock, told by the caller."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._answers = 0
        self._not_before = 0.0
        self.round_trip_seconds = 0.0
        """Of the last question."""

    @property
    def is_waiting(self) -> bool:
        """A question is out."""
        return self._asked_at is not None

    def should_ask(self) -> bool:
        """Something was drawn: is it time for a question?"""
        return self._asked_at is None

    def asked(self, now: float) -> None:
        """The question has been sent."""
        self._asked_at = now

    def answered(self, now: float) -> None:
        """It has arrived, and everything before it: the line may rest as long as it was busy."""
        if self._asked_at is not None:
            self._answers += 1
            self.round_trip_seconds = now - self._asked_at
            self._not_before = now + self.round_trip_seconds if self.round_trip_seconds > 0.2 else now
            self._asked_at = None

    def may_draw(self, now: float) -> bool:
        """May a new frame be drawn now?"""
        if self._asked_at is None:
            return now >= self._not_before
        patience = HELD_SECONDS if self._answers else PATIENCE_SECONDS
        if now - self._asked_at < patience:
            return False
        if self._answers:
            self._asked_at = None
        return True

    def slowed_seconds(self, interval_seconds: float) -> float:
        """How often a frame is drawn now, where that is less often than meant; else 0."""
        every = 2 * self.round_trip_seconds if self.round_trip_seconds > 0.2 else 0.0
        return float(round(every)) if every > interval_seconds else 0.0
