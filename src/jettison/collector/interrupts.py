"""Finishing what must not stop half-way when a signal comes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["uninterrupted"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal end what is going on half-way; it waits until this is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
