"""Reading the requests of one connection, by gunicorn's parser: what a client repeats byte by byte is read once."""

from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.parser import RequestParser


class Requests(RequestParser):
    """As gunicorn's; `take` says what has come, where that is one whole request without a body."""

    mesg: Any
    _coming = _head = b""

    def take(self, came: bytes) -> None:
        """The next request, as it came."""
        self._coming = came
        if came != self._head:
            self.unreader.unread(came)

    def __next__(self) -> Any:
        """The next request; the same object as before, where its bytes are the same."""
        is_again, self._head, self._coming = bool(self._coming) and self._coming == self._head, self._coming, b""
        return self.mesg if is_again else super().__next__()

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """True at once where there is none: gunicorn would set a limit on the socket, and take it away again, to read nothing."""
        reader = self.mesg.body.reader if self.mesg else None
        if isinstance(reader, LengthReader) and reader.length == 0 and not self.mesg.body.buf.tell():
            return True
        return bool(super().finish_body(deadline, max_bytes))
