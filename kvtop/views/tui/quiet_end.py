"""The end of the app by an exception: handed to whoever runs it, without the toolkit's own traceback."""

from typing import TYPE_CHECKING

from textual.worker import WorkerFailed

if TYPE_CHECKING:
    from textual.app import App

    _App = App[None]
else:
    _App = object  # a part of the app, mixed in before Textual's own class


class EndsQuietly(_App):
    """`problem` is the exception that ended the app, or None."""

    problem: Exception | None = None

    def _handle_exception(self, error: Exception) -> None:
        """Leave. The toolkit would print every call with its local variables.

        Among those are the command lines and environments of other people's processes.
        """
        if self.problem is None:
            inner = error.error if isinstance(error, WorkerFailed) else error
            self.problem = self._exception = inner if isinstance(inner, Exception) else error
            self._exception_event.set()
        self._return_code = 1
        self._close_messages_no_wait()
