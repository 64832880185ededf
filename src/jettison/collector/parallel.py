"""Looking at many things with all processors.

Reading a tree is mostly system calls and hashing, which one Python process does one at a time. So
processes are forked that read numbers of things from one pipe, as many as each can manage, and
write what they find to a pipe of their own; in between the parent looks too. They end with the
parent, wherever they are, so what they do must bear that.
"""

import contextlib
import fcntl
import gc
import os
import pickle
import selectors
import signal
import struct
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, NoReturn, TypeVar

from jettison.errors import StorageError

__all__ = ["few_cycles", "side_by_side"]

Found = TypeVar("Found")

WORTH_FORKING: Final = 8
"""So few are looked at sooner than a process is made."""

MOST_WORKERS: Final = 8
AHEAD: Final = 3
"""How many each worker has to do at a time, so that none waits for the next."""

SELDOM: Final = 200_000
"""So many more objects until Python looks for cycles among them."""

_NUMBER: Final = struct.Struct("<I")
_SIZE: Final = struct.Struct("<IQ")
_PIECE: Final = 1 << 18
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PIPE: Final = 1 << 20


@contextlib.contextmanager
def few_cycles() -> Iterator[None]:
    """Let Python look for cycles seldom, where many objects are made and hardly any cycle."""
    threshold = gc.get_threshold()
    gc.set_threshold(SELDOM, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


def side_by_side(
    names: Sequence[str], look: Callable[[str], Found], processes: int | None = None
) -> Iterator[tuple[str, Found]]:
    """Yield each name with what ``look`` makes of it, in no promised order.

    ``processes`` is how many to use; None: as many as there are processors, but none beside other
    threads, which a fork would cut off in the middle of whatever they hold. Raises what ``look``
    raises, and :class:`~jettison.errors.StorageError` if a process is killed.
    """
    if processes is None:
        alone = threading.active_count() == 1
        processes = min(len(os.sched_getaffinity(0)), MOST_WORKERS) if alone else 1
    if processes < 2 or len(names) < WORTH_FORKING:  # noqa: PLR2004 - two are side by side
        for name in names:
            yield name, look(name)
        return
    with few_cycles():
        pool = _Pool(names, look, processes - 1)
        try:
            yield from pool.results()
        finally:
            pool.end()


class _Pool(Generic[Found]):
    def __init__(self, names: Sequence[str], look: Callable[[str], Found], processes: int) -> None:
        self._names = names
        self._look = look
        self._workers: dict[int, int] = {}
        self._given = 0
        todo, self._todo = os.pipe()
        try:
            for _ in range(processes):
                self._start(todo)
        finally:
            os.close(todo)
        self._ahead = AHEAD * processes

    def _start(self, todo: int) -> None:
        source, sink = os.pipe()
        with contextlib.suppress(OSError):  # a limit of the system; it is only slower then
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE)
        # A signal right after the fork would run what the parent has in store for it, twice.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            worker = os.fork()
            if worker == 0:
                os.close(source)
                self._work(todo, sink, before)
            self._workers[source] = worker
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(sink)

    def _work(self, todo: int, sink: int, mask: set[int | signal.Signals]) -> NoReturn:
        """Be a worker; never returns to what the parent was doing."""
        code = 1
        try:
            # Ctrl-C is for the parent, which then ends its workers.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._todo)
            for source in self._workers:
                os.close(source)
            while number := os.read(todo, _NUMBER.size):
                self._answer(sink, _NUMBER.unpack(number)[0])
            code = 0
        except OSError:
            pass  # the parent is gone
        except BaseException:  # noqa: BLE001 - the parent sees only that the pipe is closed
            if os.environ.get("JETTISON_DEBUG"):
                traceback.print_exc()
        finally:
            os._exit(code)

    def _answer(self, sink: int, number: int) -> None:
        try:
            answer: Found | Exception = self._look(self._names[number])
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            answer = error
        body = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        rest = memoryview(_SIZE.pack(number, len(body)) + body)
        while rest:
            rest = rest[os.write(sink, rest) :]

    def results(self) -> Iterator[tuple[str, Found]]:
        """Give out the work, do some of it, and yield what comes of it."""
        pending = {source: bytearray() for source in self._workers}
        self._give(self._ahead)
        waiting = self._given
        with selectors.DefaultSelector() as selector:
            for source in self._workers:
                selector.register(source, selectors.EVENT_READ)
            while waiting or self._given < len(self._names):
                # Wait for the others only when there is nothing left to be done here.
                here = self._given < len(self._names)
                ready = selector.select(0 if here else None)
                for key, _ in ready:
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        raise StorageError("a process that was reading the storage was killed")
                    pending[key.fd] += piece
                    for name, found in self._whole(pending[key.fd]):
                        waiting += self._give(1) - 1
                        yield name, found
                if here and not ready and self._given < len(self._names):
                    name = self._names[self._given]
                    self._given += 1
                    yield name, self._look(name)

    def _give(self, count: int) -> int:
        """Give out so many repositories, if there are any left; return how many it were."""
        first = self._given
        self._given = min(first + count, len(self._names))
        if self._given > first:
            os.write(self._todo, b"".join(map(_NUMBER.pack, range(first, self._given))))
        return self._given - first

    def _whole(self, pending: bytearray) -> Iterator[tuple[str, Found]]:
        while len(pending) >= _SIZE.size:
            number, size = _SIZE.unpack_from(pending)
            end = _SIZE.size + size
            if len(pending) < end:
                return
            # What comes through this pipe was made by this very program.
            answer = pickle.loads(pending[_SIZE.size : end])  # noqa: S301 - see above
            del pending[:end]
            if isinstance(answer, Exception):
                raise answer
            yield self._names[number], answer

    def end(self) -> None:
        """End the workers, whatever they are doing."""
        os.close(self._todo)
        for source, worker in self._workers.items():
            os.close(source)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
