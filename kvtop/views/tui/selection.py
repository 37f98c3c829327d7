"""Which server is under the cursor: it follows its server while the table changes around it."""

from kvtop.domain.frame import Frame, ServerView


class Selection:
    """The cursor of the server table. Every question is asked about a frame; None stands for no frame yet."""

    def __init__(self) -> None:
        self.server_id: str | None = None
        self._place = 0

    def servers(self, frame: Frame | None) -> tuple[ServerView, ...]:
        """The rows of the table, in its order."""
        return () if frame is None else frame.servers

    def index(self, frame: Frame | None) -> int | None:
        """The row under the cursor; None without servers."""
        for index, view in enumerate(self.servers(frame)):
            if view.reading.id == self.server_id:
                return index
        return None

    def view(self, frame: Frame | None) -> ServerView | None:
        """The server under the cursor."""
        index = self.index(frame)
        return None if index is None else self.servers(frame)[index]

    def move(self, frame: Frame | None, step: int, *, wraps: bool) -> None:
        """Up or down, stopping at the ends or going around."""
        self.put((self.index(frame) or 0) + step, frame, wraps=wraps)

    def put(self, place: int, frame: Frame | None, *, wraps: bool = False) -> None:
        """Onto this row, or the nearest there is."""
        rows = self.servers(frame)
        if rows:
            self._place = place % len(rows) if wraps else min(max(place, 0), len(rows) - 1)
            self.server_id = rows[self._place].reading.id

    def follow(self, frame: Frame) -> None:
        """After a new frame: with its server, or at its place in the table when that is gone."""
        index = self.index(frame)
        if index is None:
            self.put(self._place, frame)
        else:
            self._place = index
