"""The clock of this machine beside that of a registry."""

import email.utils

import pytest

from jettison.client.clock import clock_difference
from jettison.model.names import RepoName, Tag
from tests.client.conftest import Clock, Connect
from tests.client.scripted import Answer, Scripted

NOW = 1_700_000_000.0
REPO = RepoName("team/app")


def date(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("written", "sent", "received", "expected"),
    [
        (NOW, NOW, NOW, 0),
        # The answer took nine seconds; the registry wrote it in one of them.
        (NOW, NOW - 9, NOW, 0),
        (NOW, NOW, NOW + 9, 0),
        # `Date` has whole seconds.
        (NOW, NOW + 0.9, NOW + 0.9, 0),
        (NOW, NOW + 61, NOW + 62, 60),
        (NOW, NOW - 61, NOW - 60, -60),
        (0, NOW, NOW, NOW - 1),
    ],
)
def test_what_the_way_takes_is_no_difference(
    written: float, sent: float, received: float, expected: float
) -> None:
    assert clock_difference({"Date": date(written)}, sent, received) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": ""},
        {"Date": "yesterday"},
        {"Date": "Tue, 14 Nov 2023 22:13:20 -0000"},
        {"Date": "Tue, 99 Nov 99999999999 22:13:20 GMT"},
        {"Date": date(0), "Age": "1700000000"},
    ],
)
def test_what_does_not_tell_the_time(headers: dict[str, str]) -> None:
    assert clock_difference(headers, NOW, NOW) is None


def answer(seconds: float) -> Answer:
    return Answer(body="{}", headers={"Date": date(seconds)})


async def test_the_largest_difference_counts(
    server: Scripted, connect: Connect, clock: Clock
) -> None:
    registry = connect(server.host)
    assert registry.clock_difference is None
    for ahead, expected in ((0, 0), (-90, 89), (30, 89), (120, -120), (0, -120)):
        path = f"/v2/team/app/manifests/{abs(ahead)}"
        server.on("GET", path, answer(clock.now + ahead))
        await registry.manifest(REPO, Tag(str(abs(ahead))))
        assert registry.clock_difference == expected


async def test_another_host_does_not_tell_the_registrys_time(
    server: Scripted, elsewhere: Scripted, connect: Connect, clock: Clock
) -> None:
    there = f"http://{elsewhere.host}/manifest"
    headers = {"Location": there, "Date": date(clock.now)}
    server.on("GET", "/v2/team/app/manifests/1", Answer(307, headers=headers))
    elsewhere.on("GET", "/manifest", answer(0))
    registry = connect(server.host)
    await registry.manifest(REPO, Tag("1"))
    assert registry.clock_difference == 0
