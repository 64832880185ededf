"""Several processes that serve one socket, and the one that watches over them."""

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Final, NoReturn

import msgspec

from jettison.errors import JettisonError, StorageError
from jettison.model import strict_json

__all__ = ["call_apart", "watch_over"]

_log: Final = logging.getLogger(__name__)

_QUICK_SECONDS: Final = 5.0
_MOST_QUICK: Final = 5
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[int, Callable[[], None]], None]


def watch_over(count: int, work: Work, ready: Callable[[], None]) -> None:
    """Run ``work(number, ready)`` in ``count`` processes until SIGTERM or SIGINT.

    The signal is passed on, and all processes are waited for. One that ends earlier is started
    again. Raises :class:`~jettison.errors.JettisonError` if they keep ending at the start.
    """
    stopping = False
    running: dict[int, tuple[int, float]] = {}

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        _hand_on(number, running)

    def begin(number: int, told: Callable[[], None]) -> None:
        # A signal waits until the process is known, or it would not be handed on to it.
        with _signals_held_back():
            if not stopping:
                running[_begin(number, work, told)] = (number, time.monotonic())

    quick = 0
    with _handled(stop) as woken:
        for number in range(count):
            begin(number, ready if number == 0 else _nothing)
        while running:
            process = _ended_child(woken)
            number, began = running.pop(process, (-1, 0.0))
            if number < 0 or stopping:
                continue
            quick = quick + 1 if time.monotonic() - began < _QUICK_SECONDS else 0
            if quick > _MOST_QUICK:
                stop(signal.SIGTERM, None)
            else:
                begin(number, _nothing)
        if quick > _MOST_QUICK:
            message = "the worker processes end as soon as they begin; the log says why"
            raise JettisonError(message)


@contextlib.contextmanager
def _handled(stop: Callable[[int, FrameType | None], None]) -> Iterator[int]:
    """Handle signals in a ``with`` block; yield a pipe to which each writes, also of a child's end.

    A signal that comes just before a call that waits does not end that: the pipe does.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    handlers = {**dict.fromkeys(_SIGNALS, stop), signal.SIGCHLD: _pass_over}
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(woken)
        for one, handler in before.items():
            signal.signal(one, handler)
        os.close(reading)
        os.close(writing)


def _ended_child(woken: int) -> int:
    """Wait for a child that ended, and return its id."""
    while True:
        process, _ = os.waitpid(-1, os.WNOHANG)
        if process:
            return process
        select.select([woken], [], [])
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)


def _pass_over(_: int, __: FrameType | None) -> None:
    """Do nothing: that it came is enough."""


def call_apart(function: Callable[[], None]) -> None:
    """Call a function in a process of its own, so that nothing of what it opens stays in this one.

    Raises :class:`~jettison.errors.StorageError` with the message of whatever it raises.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        _call_and_end(function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        raw = pipe.read()
    _, status = os.waitpid(process, 0)
    if raw:
        message, hint = strict_json.decode(raw, tuple[str, str | None])
        raise StorageError(message, hint=hint)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise StorageError(f"the process that looks at the storage ended with {code}")


def _call_and_end(function: Callable[[], None], writing: int) -> NoReturn:
    code = 1
    try:
        function()
        code = 0
    except JettisonError as error:
        os.write(writing, msgspec.json.encode((error.message, error.hint)))
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends here
        os.write(writing, msgspec.json.encode((f"{type(error).__name__}: {error}", None)))
    finally:
        os._exit(code)


def _hand_on(number: int, processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(process, number)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(number: int, work: Work, ready: Callable[[], None]) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        # The parent's handlers are not ours; until the server has its own, a signal ends us.
        signal.set_wakeup_fd(-1)
        for one in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        work(number, ready)
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends here
        debugging = bool(os.environ.get("JETTISON_DEBUG"))
        _log.critical("worker %d: %s: %s", number, type(error).__name__, error, exc_info=debugging)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _nothing() -> None:
    """Do nothing."""
