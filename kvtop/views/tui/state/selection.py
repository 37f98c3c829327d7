"""Which server is under the cursor: it follows its server while the table changes around it."""

from kvtop.domain.frame import Frame, ServerView
from kvtop.views.tui.state.server_order import ORDERS, arranged


class Selection:
    """The cursor of the server table. Every question is asked about a frame; None stands for no frame yet."""

    def __init__(self) -> None:
        self.server_id: str | None = None
        self.words = ""
        self.order = ORDERS[0]
        self.is_reversed = False
        self._place = 0

    def servers(self, frame: Frame | None) -> tuple[ServerView, ...]:
        """The rows of the table: what the filter leaves, in its order."""
        return () if frame is None else arranged(frame.servers, self.words, self.order, is_reversed=self.is_reversed)

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

    def find(self, words: str, frame: Frame | None) -> None:
        """Shows only servers with these words; "" shows all. A cursor whose server is hidden goes to the nearest."""
        self.words = words
        if self.index(frame) is None:
            self.put(self._place, frame)

    def sort(self, column: str = "") -> None:
        """By the column of that title, the other way around where it goes by that already; or by the next one."""
        self.is_reversed = bool(column) and column == self.order.column and not self.is_reversed
        index = next((i for i, order in enumerate(ORDERS) if order.column == column), ORDERS.index(self.order) + 1)
        self.order = ORDERS[index % len(ORDERS)]

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
