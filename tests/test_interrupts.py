"""What must not stop half-way, in a process that has other threads."""

import os
import signal
import threading
import time

import pytest

from jettison.interrupts import uninterrupted


def test_a_signal_waits_until_the_end_whatever_thread_takes_it() -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    done: list[int] = []

    def work() -> None:
        with uninterrupted():
            for number in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.02)
                done.append(number)

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        over.set()
        other.join()
    assert done == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_nothing_comes_after_it() -> None:
    with uninterrupted(), uninterrupted():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_thread_is_never_interrupted_and_may_use_it() -> None:
    done: list[bool] = []

    def work() -> None:
        with uninterrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
