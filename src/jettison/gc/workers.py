"""Surveying many repositories with all processors.

Reading a tree is mostly system calls and hashing, which one Python process does one at a time. So
processes are forked that read numbers of repositories from one pipe, as many as each can manage,
and write what they find to a pipe of their own. They change nothing, and end with the parent.
"""

import contextlib
import gc
import os
import selectors
import signal
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NoReturn

import msgspec

from jettison.errors import StorageError
from jettison.gc.survey import RepositorySurvey

__all__ = ["survey_all"]

WORTH_FORKING: Final = 8
"""So few repositories are surveyed sooner than a process is made."""

MOST_WORKERS: Final = 8
AHEAD: Final = 16
"""How many repositories are given out beyond those that were answered, for each worker."""

_NUMBER: Final = struct.Struct("<I")
_SIZE: Final = struct.Struct("<IQ")
_PIECE: Final = 1 << 18


class _Failure(msgspec.Struct, array_like=True, tag=1):
    message: str
    hint: str | None


class _Found(msgspec.Struct, array_like=True, tag=0):
    survey: RepositorySurvey


def _plain(value: object) -> str:
    """Return the text in a ``RepoName`` or a ``Digest``, which msgspec does not take for one."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value))


_ENCODE: Final = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_DECODE: Final = msgspec.msgpack.Decoder(_Found | _Failure).decode


def survey_all(
    names: Sequence[str], survey: Callable[[str], RepositorySurvey], processes: int | None = None
) -> Iterator[tuple[str, RepositorySurvey]]:
    """Yield each name with its survey, in no promised order.

    ``processes`` is how many to use; None: as many as there are processors, but none beside other
    threads, which a fork would cut off in the middle of whatever they hold. Raises the
    :class:`~jettison.errors.StorageError` that a survey raised.
    """
    if processes is None:
        alone = threading.active_count() == 1
        processes = min(len(os.sched_getaffinity(0)), MOST_WORKERS) if alone else 1
    if processes < 2 or len(names) < WORTH_FORKING:  # noqa: PLR2004 - two are side by side
        for name in names:
            yield name, survey(name)
        return
    pool = _Pool(names, survey, processes)
    try:
        yield from pool.results()
    finally:
        pool.end()


class _Pool:
    def __init__(
        self, names: Sequence[str], survey: Callable[[str], RepositorySurvey], processes: int
    ) -> None:
        self._names = names
        self._survey = survey
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
        worker = os.fork()
        if worker == 0:
            self._work(todo, sink)
        os.close(sink)
        self._workers[source] = worker

    def _work(self, todo: int, sink: int) -> NoReturn:
        """Be a worker; never returns to what the parent was doing."""
        code = 1
        try:
            # Ctrl-C is for the parent, which then ends its workers.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            gc.disable()  # no cycles are made here, and looking for them takes time
            os.close(self._todo)
            for source in self._workers:
                os.close(source)
            while number := os.read(todo, _NUMBER.size):
                self._answer(sink, _NUMBER.unpack(number)[0])
            code = 0
        except OSError:
            pass  # the parent is gone
        finally:
            os._exit(code)

    def _answer(self, sink: int, number: int) -> None:
        try:
            answer: _Found | _Failure = _Found(self._survey(self._names[number]))
        except StorageError as error:
            answer = _Failure(error.message, error.hint)
        body = _ENCODE(answer)
        rest = memoryview(_SIZE.pack(number, len(body)) + body)
        while rest:
            rest = rest[os.write(sink, rest) :]

    def results(self) -> Iterator[tuple[str, RepositorySurvey]]:
        """Give out the work and yield what comes back."""
        pending = {source: bytearray() for source in self._workers}
        self._give(self._ahead)
        answered = 0
        with selectors.DefaultSelector() as selector:
            for source in self._workers:
                selector.register(source, selectors.EVENT_READ)
            while answered < len(self._names):
                for key, _ in selector.select():
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        raise StorageError("a process that was reading the storage was killed")
                    pending[key.fd] += piece
                    for name, survey in self._whole(pending[key.fd]):
                        answered += 1
                        self._give(1)
                        yield name, survey

    def _give(self, count: int) -> None:
        end = min(self._given + count, len(self._names))
        if end > self._given:
            os.write(self._todo, b"".join(map(_NUMBER.pack, range(self._given, end))))
            self._given = end

    def _whole(self, pending: bytearray) -> Iterator[tuple[str, RepositorySurvey]]:
        while len(pending) >= _SIZE.size:
            number, size = _SIZE.unpack_from(pending)
            end = _SIZE.size + size
            if len(pending) < end:
                return
            answer = _DECODE(bytes(pending[_SIZE.size : end]))
            del pending[:end]
            if isinstance(answer, _Failure):
                raise StorageError(answer.message, hint=answer.hint)
            yield self._names[number], answer.survey

    def end(self) -> None:
        """End the workers, whatever they are doing: they only read."""
        os.close(self._todo)
        for source, worker in self._workers.items():
            os.close(source)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
