"""Notifications as a listener takes them: what it notes, and what it makes of anything else."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from jettison.configuration.settings import PullRecords
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.pulls import MOST_SOURCES, Batch, Terms
from jettison.server import listening as module
from jettison.server.listening import Listener
from jettison.server.pulls import Saver
from jettison.storage.memory import MemoryStorage
from jettison.storage.pulls import book_of
from tests.server.asgi import scope

DIGEST = "sha256:" + "a" * 64
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NOW = 5000.0


def event(action: str = "pull", **more: Any) -> dict[str, Any]:
    """An event as Distribution 2.8 sends it."""
    target = {
        "mediaType": MANIFEST,
        "digest": DIGEST,
        "repository": "team/app",
        "url": f"http://host/v2/team/app/manifests/{DIGEST}",
        "tag": "v1",
    }
    return {
        "id": "1",
        "timestamp": "2001-01-01T00:00:00.000000001Z",
        "action": action,
        "target": target | more.get("target", {}),
        "request": {"method": "GET", "useragent": "docker/24"} | more.get("request", {}),
        "actor": more.get("actor", {}),
        "source": {"addr": "node:5000", "instanceID": "process-1"} | more.get("source", {}),
    }


class Told:
    """A listener, and what it was told; `answer` is the status of the last answer."""

    def __init__(self, secret: str | None = None, settings: PullRecords | None = None) -> None:
        self.saver = Saver(book_of(MemoryStorage()), Terms(silence=60), lambda: NOW)
        self.app = Listener(self.saver, secret, settings or PullRecords(), lambda: NOW)
        self.status = 0

    def __call__(
        self, body: object, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Batch:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(scope(method, headers or {}), receive, send))
        self.status = sent[0]["status"]
        return self.saver.batch


def test_pulls_and_pushes_of_manifests_are_noted_as_they_arrive() -> None:
    told = Told()
    batch = told({"events": [event(), event("push", target={"repository": "b"})]})
    assert told.status == 200
    assert batch.pulls == {("team/app", "v1", DIGEST): NOW}  # whatever the sender's clock says
    assert batch.pushes == {("b", DIGEST): NOW}
    assert batch.heard == {"process-1": ("node:5000", NOW, NOW)}
    assert not batch.lost


@pytest.mark.parametrize(
    "other",
    [
        event(request={"method": "HEAD"}),
        event(request={"useragent": "jettison/1.0"}),
        event(request={"useragent": "trivy/0.5"}),
        event(actor={"name": "mirror"}),
        event("delete"),
        event("mount"),
        event("whatever"),
        event(target={"mediaType": "application/octet-stream"}),
        event(target={"mediaType": "x", "url": f"http://host/v2/a/blobs/{DIGEST}"}),
        event(target={"digest": ""}),
        event(target={"digest": "sha256:abc"}),
        event(target={"repository": "../../etc"}),
        event(target={"repository": "UPPER"}),
    ],
)
def test_other_events_are_accepted_and_only_show_that_the_registry_speaks(other: object) -> None:
    settings = PullRecords(
        ignore_agents=(Pattern("trivy*"),), ignore_users=(Pattern("mirror"),), enabled=True
    )
    told = Told(settings=settings)
    batch = told({"events": [other]})
    assert told.status == 200
    assert (batch.pulls, batch.pushes, batch.lost) == ({}, {}, False)
    assert batch.heard.keys() == {"process-1"}


def test_tag_that_is_none_is_left_out() -> None:
    batch = Told()({"events": [event(target={"tag": "not a tag"})]})
    assert batch.pulls == {("team/app", "", DIGEST): NOW}


def test_nothing_is_read_without_the_secret() -> None:
    told = Told("s3cret")
    body = {"events": [event()]}
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "s3cret"}):
        assert told(body, headers).pulls == {}
        assert told.status == 401
        assert told(b"{", headers).lost is False
    assert told(body, {"Authorization": "Bearer s3cret"}).pulls != {}
    assert told.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'"events"',
        b'{"events": {}}',
        b'{"events": [1]}',
        b'{"events": [{"target": {"digest": 5}}]}',
        b"[" * 100_000,
        b'{"events": [' + b"{}," * 250_000 + b"{}]}",
        b'{"a": "' + b"x" * (5 << 20) + b'"}',
    ],
    ids=range(10),
)
def test_what_is_no_envelope_is_refused_and_may_have_been_a_pull(body: bytes) -> None:
    told = Told()
    assert told(body).lost
    assert told.status in {400, 413}


def test_other_methods_note_nothing() -> None:
    told = Told()
    for method, status in (("GET", 200), ("HEAD", 200), ("PUT", 405), ("DELETE", 405)):
        batch = told({"events": [event()]}, method=method)
        assert told.status == status
        assert batch == Batch()


def test_senders_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    for number in range(MOST_SOURCES + 1):
        told({"events": [event(source={"instanceID": f"{number}", "addr": "x" * 10_000})]})
    batch = told.saver.batch
    assert len(batch.heard) == MOST_SOURCES
    assert batch.lost
    assert all(len(address) == 200 for address, _, _ in batch.heard.values())
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    for number in range(12):
        told({"events": [event(target={"tag": f"t{number}"})]})
    assert len(told.saver.batch.pulls) <= 5


def test_event_without_a_source_is_heard_all_the_same() -> None:
    batch = Told()({"events": [{}]})
    assert batch.heard == {"an unnamed address": ("an unnamed address", NOW, NOW)}
