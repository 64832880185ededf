"""Notifications: Distribution's envelope, and endpoints that refuse, hang, vanish and recover."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.configuration.settings import Endpoint, Notifications
from jettison.demo import images
from jettison.server.observing import Event, Notifier, Referenced
from jettison.server.observing import notifications as module
from jettison.server.observing.notifications import MEDIA_TYPE
from tests.server.observing.exchanges import PULL, exchange
from tests.server.observing.sinks import Sink, serving
from tests.support.registry import RegistryFactory

DIGEST = f"sha256:{'0' * 64}"
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with serving(Sink()) as running:
        yield running


def endpoint(sink: Sink, **changes: Any) -> Endpoint:
    settings = {"name": "hook", "timeout": 5.0, "threshold": 3, "backoff": 0.05, **changes}
    return Endpoint(url=sink.url, **settings)


def pull(tag: str = "v1", **changes: Any) -> Event:
    settings = {"digest": DIGEST, "media_type": "a/b", "size": 5, "url": "http://r/v2/x", **changes}
    return Event("pull", "team/app", PULL, tag=tag, **settings)


def tags(events: list[dict[str, Any]]) -> list[str]:
    return [event["target"]["tag"] for event in events]


async def test_an_event_is_told_as_distribution_does(sink: Sink) -> None:
    headers = {"Authorization": ("Bearer secret",), "X-More": ("one", "two")}
    notifier = Notifier(
        Notifications((endpoint(sink, headers=headers),), include_references=True),
        "127.0.0.1:5000",
        clock=lambda: 1_795_510_830.25,
    )
    await notifier.start()
    reference = Referenced("c/d", 7, DIGEST)
    event = Event(
        "push",
        "team/app",
        exchange(user="ann", method="PUT"),
        digest=DIGEST,
        media_type="a/b",
        size=5,
        url="http://r/v2/x",
        tag="v1",
        references=(reference,),
    )
    notifier.emit(event)
    [told] = await sink.wait_for(1)
    await notifier.stop(5)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f-]{17}", told.pop("id"))
    source = told.pop("source")
    assert source["addr"].endswith(":5000")
    assert source["instanceID"]
    assert told == {
        "timestamp": "2026-11-24T09:00:30.250000Z",
        "action": "push",
        "target": {
            "mediaType": "a/b",
            "size": 5,
            "digest": DIGEST,
            "length": 5,
            "repository": "team/app",
            "url": "http://r/v2/x",
            "tag": "v1",
            "references": [{"mediaType": "c/d", "size": 7, "digest": DIGEST}],
        },
        "request": {
            "id": "67ac5d52-c9fb-4c07-8154-7ebac0dfb418",
            "addr": "127.0.0.1",
            "host": "registry.example:5000",
            "method": "PUT",
            "useragent": "curl/7.88.1",
        },
        "actor": {"name": "ann"},
    }
    [request] = sink.requests
    assert request.method == "POST"
    assert request.path_qs == "/events?x=1"
    assert request.headers["Content-Type"] == MEDIA_TYPE
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers.getall("X-More") == ["one", "two"]


def shape(value: Any) -> Any:
    """The names in a document, without what they stand for."""
    if isinstance(value, dict):
        return {name: shape(below) for name, below in value.items()}
    return [shape(below) for below in value] if isinstance(value, list) else type(value)


@pytest.mark.distribution
async def test_the_envelope_is_that_of_the_real_registry(
    sink: Sink, registry_factory: RegistryFactory
) -> None:
    settings = {
        "events": {"includereferences": True},
        "endpoints": [{"name": "hook", "url": sink.url, "timeout": "5s", "threshold": 3}],
    }

    def use() -> None:
        registry = registry_factory(delete=True, extra={"notifications": settings})
        layer = images.layer({"a": b"b"})
        content = images.image([layer])
        digest = registry.push("team/app", "v1", content)
        registry.manifest("team/app", "v1")
        path = f"/v2/other/blobs/uploads/?mount={layer.digest}&from=team/app"
        assert registry.request("POST", path).status == 201
        assert registry.delete("team/app", digest) == 202

    await asyncio.to_thread(use)
    # Two blobs, the manifest by digest and by tag, the pull, the mount, manifest and tag deleted.
    theirs = (await sink.wait_for(8))[:]
    media_type = sink.requests[0].headers["Content-Type"]
    assert media_type == MEDIA_TYPE.replace("v2", "v1")

    notifier = Notifier(Notifications((endpoint(sink),), include_references=True), "x:5000")
    await notifier.start()
    for told in theirs:
        target = told["target"]
        notifier.emit(
            Event(
                told["action"],
                target["repository"],
                PULL,
                digest=target.get("digest", ""),
                media_type=target.get("mediaType", ""),
                size=target.get("size", 0),
                url=target.get("url", ""),
                tag=target.get("tag", ""),
                from_repository=target.get("fromRepository", ""),
                references=tuple(
                    Referenced(r["mediaType"], r["size"], r["digest"])
                    for r in target.get("references", ())
                ),
            )
        )
    ours = (await sink.wait_for(2 * len(theirs)))[len(theirs) :]
    await notifier.stop(5)
    assert {told["action"] for told in theirs} == {"push", "pull", "mount", "delete"}
    for one, other in zip(ours, theirs, strict=True):
        assert shape(one) == shape(other)
        assert one["target"] == other["target"]
        assert one["source"].keys() == other["source"].keys()


def test_the_example_in_the_documentation_is_an_envelope() -> None:
    text = OPERATIONS.read_text("utf-8")
    [example] = re.findall(r"```json\n(\{\n.*?)```", text, re.DOTALL)
    notifier = Notifier(Notifications(include_references=True), "registry.example:5000")
    event = pull(references=(Referenced("c/d", 7, DIGEST),))
    event.exchange = exchange(user="ann")
    assert shape(json.loads(example)) == shape(json.loads(notifier._envelope(event)))


async def test_order_is_kept_through_failures(sink: Sink) -> None:
    notifier = Notifier(Notifications((endpoint(sink),)))
    await notifier.start()
    sink.status = 500
    for number in range(20):
        notifier.emit(pull(str(number)))
    await _until(lambda: sink.tries >= 4)
    sink.status = 200
    assert tags(await sink.wait_for(20)) == [str(number) for number in range(20)]
    await notifier.stop(5)
    [figures] = notifier.figures()
    assert (figures.accepted, figures.sent, figures.queued) == (20, 20, 0)
    assert figures.refused >= 4
    assert figures.statuses == {200: 20, 500: figures.refused}
    assert figures.dropped == 0


async def test_after_the_threshold_it_pauses(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(Notifications((endpoint(sink, threshold=3, backoff=0.3),)))
    await notifier.start()
    sink.status = 503
    notifier.emit(pull())
    await _until(lambda: sink.tries >= 3)
    await asyncio.sleep(0.15)
    assert sink.tries == 3
    sink.status = 200
    began = time.monotonic()
    await sink.wait_for(1)
    assert 0.05 < time.monotonic() - began < 2
    await notifier.stop(5)
    logged = [record.message for record in caplog.records]
    assert logged == [
        "endpoint hook answers 503; trying again",
        "endpoint hook answers 503; trying every 0.3 s",
        "endpoint hook accepts events again",
    ]


async def test_an_endpoint_that_hangs_is_given_its_timeout(sink: Sink) -> None:
    notifier = Notifier(Notifications((endpoint(sink, timeout=0.1, threshold=1),)))
    await notifier.start()
    sink.hanging = True
    notifier.emit(pull())
    await _until(lambda: sink.tries >= 2)
    sink.hanging = False
    await sink.wait_for(1)
    await notifier.stop(5)
    [figures] = notifier.figures()
    assert figures.errors >= 1


async def test_one_endpoint_does_not_hold_up_another(sink: Sink) -> None:
    gone = Endpoint("gone", "http://127.0.0.1:9/", backoff=0.05, threshold=2)
    notifier = Notifier(Notifications((gone, endpoint(sink))))
    await notifier.start()
    notifier.emit(pull())
    await sink.wait_for(1)
    await notifier.stop(0.1)
    lost, _ = notifier.figures()
    assert (lost.accepted, lost.dropped, lost.queued) == (1, 1, 0)
    assert lost.errors >= 1


async def test_what_waits_is_bounded_and_the_oldest_goes(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_QUEUED", 5)
    notifier = Notifier(Notifications((endpoint(sink),)))
    await notifier.start()
    sink.hanging = True
    notifier.emit(pull("first"))
    await _until(lambda: sink.tries == 1)
    for number in range(10):
        notifier.emit(pull(str(number)))
    sink.hanging = False
    [figures] = notifier.figures()
    assert (figures.queued, figures.dropped) == (5, 6)
    assert "the queue for endpoint hook is full" in caplog.text
    await notifier.stop(0)


async def test_what_waits_is_bounded_in_bytes(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_QUEUED_BYTES", 5000)
    notifier = Notifier(Notifications((endpoint(sink),)))
    for number in range(100):
        notifier.emit(pull(str(number)))
    [figures] = notifier.figures()
    assert 0 < figures.queued < 12
    await notifier.start()
    told = tags(await sink.wait_for(figures.queued))
    assert told == [str(number) for number in range(100)][-figures.queued :]
    await notifier.stop(5)


async def test_events_before_the_start_are_sent_after_it(sink: Sink) -> None:
    notifier = Notifier(Notifications((endpoint(sink),)))
    notifier.emit(pull())
    await notifier.start()
    await sink.wait_for(1)
    await notifier.stop(5)


async def test_stopping_waits_for_the_queue(sink: Sink) -> None:
    notifier = Notifier(Notifications((endpoint(sink),)))
    await notifier.start()
    for number in range(50):
        notifier.emit(pull(str(number)))
    await notifier.stop(10)
    assert len(sink.events) == 50


async def test_ignored_types_and_actions_are_not_sent(sink: Sink) -> None:
    settings = endpoint(sink, ignored_media_types=("no/thing",), ignored_actions=("delete",))
    notifier = Notifier(Notifications((settings,)))
    await notifier.start()
    notifier.emit(pull("no", media_type="no/thing"))
    notifier.emit(Event("delete", "team/app", PULL, tag="no"))
    notifier.emit(pull("yes"))
    await notifier.stop(5)
    assert tags(sink.events) == ["yes"]


async def test_references_are_left_out_unless_asked_for(sink: Sink) -> None:
    notifier = Notifier(Notifications((endpoint(sink),)))
    await notifier.start()
    notifier.emit(pull(references=(Referenced("c/d", 7, DIGEST),)))
    await notifier.stop(5)
    assert "references" not in sink.events[0]["target"]


async def test_nobody_to_notify() -> None:
    disabled = Endpoint("off", "http://127.0.0.1:9/", disabled=True)
    notifier = Notifier(Notifications((disabled,)))
    assert not notifier.enabled
    await notifier.start()
    notifier.emit(pull())
    await notifier.stop(5)
    assert list(notifier.figures()) == []


async def test_emitting_never_raises(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(Notifications((endpoint(sink),)))
    notifier.emit(pull("\udc80"))
    assert "cannot be told" in caplog.text
    [figures] = notifier.figures()
    assert figures.accepted == 0


async def test_redirects_and_their_statuses(sink: Sink) -> None:
    notifier = Notifier(Notifications((endpoint(sink),)))
    await notifier.start()
    sink.status = 304  # any 3xx that leads nowhere counts as accepted
    notifier.emit(pull())
    await sink.wait_for(1)
    await notifier.stop(5)
    [figures] = notifier.figures()
    assert figures.sent == 1


async def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = "http://ann:hunter2@127.0.0.1:9/?token=hunter2"
    headers: dict[str, tuple[str, ...]] = {"Authorization": ("hunter2",)}
    settings = Endpoint("hook", url, headers=headers, threshold=2, backoff=0.01)
    notifier = Notifier(Notifications((settings,)))
    await notifier.start()
    notifier.emit(pull())
    await _until(lambda: next(notifier.figures()).errors >= 3)
    await notifier.stop(0)
    assert "events never sent to endpoint hook: 1" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.fixture(autouse=True)
def quiet_asyncio() -> Iterator[None]:
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    yield
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.005)
