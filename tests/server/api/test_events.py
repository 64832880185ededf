"""What the server does is told to whoever is to be notified, as Distribution tells it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from jettison.configuration.settings import Endpoint, Notifications
from jettison.demo import images
from jettison.storage.memory import MemoryStorage
from tests.server.application import Application
from tests.server.observing.sinks import Sink, serving

IMAGE = images.image([images.layer({"file": b"x"})])


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with serving(Sink()) as found:
        yield found


@pytest.fixture
async def app(sink: Sink) -> AsyncIterator[Application]:
    notifications = Notifications((Endpoint("sink", sink.url),))
    made = Application(MemoryStorage(), notifications=notifications)
    await made.notifier.start()
    yield made
    await made.notifier.stop(1)
    made.placement.let_go()


def told(event: dict[str, Any]) -> tuple[str, str, str, str]:
    target = event["target"]
    return event["action"], target["repository"], target["digest"], target.get("tag", "")


async def test_a_push_and_a_pull_are_told(app: Application, sink: Sink) -> None:
    expected: list[tuple[str, str, str, str]] = []
    for blob in IMAGE.blobs():
        target = await app.begin()
        status, _, _ = await app.ask("PUT", f"{target}&digest={blob.digest}", [blob.raw])
        assert status == 201
        expected.append(("push", "app", blob.digest, ""))
    kind = {"content-type": IMAGE.manifest.media_type}
    await app.ask("PUT", "/v2/app/manifests/1", [IMAGE.manifest.raw], kind)
    await app.ask("GET", "/v2/app/manifests/1", headers={"accept": "*/*"})
    expected += [("push", "app", IMAGE.digest, "1"), ("pull", "app", IMAGE.digest, "1")]
    assert [told(event) for event in await sink.wait_for(len(expected))] == expected
