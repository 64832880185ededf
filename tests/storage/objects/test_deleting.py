"""Signed deletes: what is not sent, because it could land too late."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jettison.errors import StorageError
from jettison.storage.objects import deleting
from jettison.storage.objects.deleting import ClockDifference, SignedDeletes, uptime


class Signing:
    """A bucket that signs, and whose process stands still for some seconds before that."""

    location = "s3://images"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, still: float) -> None:
        self._patch = monkeypatch
        self._still = still

    def tls(self) -> bool:
        return True

    def url(self, *_: object) -> str:
        later = uptime() + self._still
        self._patch.setattr(deleting, "uptime", lambda: later)
        return "http://127.0.0.1:9/"


def message(bucket: Signing, base: float, end: float) -> str:
    signing: Any = bucket
    deletes = SignedDeletes(signing, ClockDifference(0.0, 0.0, base))
    [deleted] = deletes.delete(["key"], end)
    assert isinstance(deleted.outcome, StorageError)
    assert deleted.lands_until == 0.0
    return deleted.outcome.message


def test_a_process_that_stood_still_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    base = time.time() - uptime()
    assert "time of its sweep" in message(Signing(monkeypatch, 3600), base - 3600, uptime() + 90)


@pytest.mark.parametrize("moved", [-600.0, 600.0])
def test_nothing_is_sent_once_the_clock_was_moved(
    monkeypatch: pytest.MonkeyPatch, moved: float
) -> None:
    base = time.time() - uptime() + moved
    assert "put forward or back" in message(Signing(monkeypatch, 0), base, uptime() + 90)


class HangingUp:
    """A store that takes a request on each connection, answers none, and hangs up."""

    location = "s3://images"

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(60)
                request = connection.recv(65536)
                if not request:
                    return
                self.requests.append(request.partition(b" HTTP/")[0])

    def tls(self) -> bool:
        return True

    def url(self, *_: object) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/images/key"

    def close(self) -> None:
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join(60)
        self._socket.close()


@pytest.fixture
def hanging_up() -> Iterator[HangingUp]:
    store = HangingUp()
    yield store
    store.close()


def test_a_delete_without_an_answer_is_not_sent_again(hanging_up: HangingUp) -> None:
    """The second one would be answered, and the first could land after that."""
    store: Any = hanging_up
    deletes = SignedDeletes(store, ClockDifference(0.0, 0.0, time.time() - uptime()))
    before = uptime()
    [deleted] = deletes.delete(["key"], before + 90)
    assert hanging_up.requests == [b"DELETE /images/key"]
    assert isinstance(deleted.outcome, StorageError)
    assert "not known" in deleted.outcome.message
    assert deleted.lands_until > before
    assert deletes.lands_until == deleted.lands_until


@pytest.mark.parametrize(
    ("ahead", "lasts"), [(-600.0, 12.0), (0.0, 12.0), (600.0, 611.0)], ids=["behind", "", "ahead"]
)
def test_a_clock_that_is_behind_makes_nobody_wait(ahead: float, lasts: float) -> None:
    """Its URLs are signed for longer, and end no later for that."""
    store: Any = None
    seconds = SignedDeletes(store, ClockDifference(ahead - 1.0, ahead, 0.0)).seconds
    assert seconds == lasts
