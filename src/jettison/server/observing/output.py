"""Lines to a file descriptor that may be slow, full, broken or stuck.

Only its own thread writes, so a reader that stops reading delays nothing else. Lines that it does
not take in time are dropped and counted, and once it reads again, a line says how many.
"""

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["PIPE_BYTES", "Output"]

PIPE_BYTES: Final = 4096
"""Linux writes up to this many bytes to a pipe in one piece, also beside other processes."""

_MOST_WAITING: Final = 4 * 1024 * 1024
_READY_SECONDS: Final = 1.0


class Output:
    """Writes to ``fd`` in the background.

    At most ``most_waiting`` bytes wait; ``notice`` makes a line of the number of lines lost.
    """

    def __init__(
        self, fd: int, notice: Callable[[int], str], *, most_waiting: int = _MOST_WAITING
    ) -> None:
        self.dropped = 0
        self._fd = fd
        self._notice = notice
        self._most_waiting = most_waiting
        self._waiting: deque[list[str]] = deque()
        self._bytes = 0
        self._unsaid = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, lines: list[str], size: int) -> None:
        """Hand over whole lines of ``size`` bytes in all; returns at once."""
        with self._changed:
            if self._bytes + size > self._most_waiting:
                self._lose(len(lines))
                return
            if self._unsaid:
                said = self._notice(self._unsaid)
                self._unsaid = 0
                lines = [said, *lines]
                size += len(said)
            self._waiting.append(lines)
            self._bytes += size
            if self._thread is None:
                # A daemon: the end of the program does not wait for a reader who went away.
                self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all is written; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._bytes == 0, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                lines = self._waiting.popleft()
                size = sum(map(len, lines))
            lost = self._write(lines)
            with self._changed:
                self._bytes -= size
                if lost:
                    self._lose(lost)
                self._changed.notify_all()

    def _lose(self, lines: int) -> None:
        self.dropped += lines
        self._unsaid += lines

    def _write(self, lines: list[str]) -> int:
        """Write the lines; return how many of them were lost to an error."""
        pieces = _pieces(lines, PIPE_BYTES) if self._is_pipe() else [(len(lines), "".join(lines))]
        lost = 0
        for count, text in pieces:
            left = memoryview(text.encode("ascii", "backslashreplace"))
            try:
                while left:
                    left = left[self._some(left) :]
            except OSError:
                lost += count
        return lost

    def _some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                # Somebody made it non-blocking: our parent may share it with others.
                select.select((), (self._fd,), (), _READY_SECONDS)

    def _is_pipe(self) -> bool:
        try:
            return stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        except OSError:
            return False


def _pieces(lines: list[str], most: int) -> list[tuple[int, str]]:
    """Join lines to pieces of at most ``most`` characters, a longer line alone."""
    pieces = []
    start = size = 0
    for number, line in enumerate(lines):
        if size + len(line) > most and number > start:
            pieces.append((number - start, "".join(lines[start:number])))
            start, size = number, 0
        size += len(line)
    pieces.append((len(lines) - start, "".join(lines[start:])))
    return pieces
