"""The access log: its formats, and that no client writes it."""

import asyncio
import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.settings import Log
from jettison.server.observing import AccessLog, Exchange
from jettison.server.observing.accesslog import safe_target
from tests.server.observing.exchanges import exchange
from tests.support.registry import RegistryFactory

FORMATS = ("text", "json", "logstash")
LINE = re.compile(
    r'(?P<client>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d+) (?P<sent>\d+) "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
    r"(?: (?P<id>\S+) (?P<seconds>[\d.]+)(?P<fields>.*))?\n"
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def lines_of(log: Log, *exchanges: Exchange) -> str:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="ascii", newline="\n") as stream:
        access = AccessLog(log, writing)
        for each in exchanges:
            access.write(each)
        assert access.close()
        os.close(writing)
        return stream.read()


def test_text_is_the_combined_format_with_id_and_seconds() -> None:
    assert lines_of(Log(), exchange(user="ann", referer="http://x/")) == (
        '127.0.0.1 - ann [24/Nov/2026:09:00:30 +0000] "GET /v2/team/app/manifests/v1 HTTP/1.1" '
        '200 396 "http://x/" "curl/7.88.1" 67ac5d52-c9fb-4c07-8154-7ebac0dfb418 0.001290\n'
    )


def test_text_begins_as_distributions_line_does(registry_factory: RegistryFactory) -> None:
    registry = registry_factory()
    agent = 'docker/24 UpstreamClient(Docker-Client/24 \\(linux\\)) "q" é'
    headers = {"User-Agent": agent, "Referer": "http://x/y"}
    registry.request("GET", "/v2/none/tags/list", headers)
    pattern = re.compile(r".* \"GET /v2/none/tags/list .*\n")
    found = None
    while found is None:
        found = pattern.search(registry.log.read_text("utf-8"))
    theirs = LINE.fullmatch(found[0])
    ours = LINE.fullmatch(
        lines_of(
            Log(),
            exchange(
                target="/v2/none/tags/list",
                status=404,
                sent=int(theirs["sent"]) if theirs else 0,
                agent=agent.encode("latin-1").decode("latin-1"),
                referer="http://x/y",
            ),
        )
    )
    assert theirs is not None
    assert ours is not None
    for name in ("client", "user", "request", "status", "sent", "referer"):
        assert ours[name] == theirs[name]
    assert ours["agent"].removesuffix("\\xe9") == re.sub(r'(\\xe9|[^" -~])$', "", theirs["agent"])


def test_text_with_fields_and_without_values() -> None:
    log = Log(fields={"service": "registry", "env": 'pro "d"'})
    line = lines_of(log, exchange(client="", agent=""))
    assert line.startswith("- - - [24/Nov/2026:09:00:30 +0000] ")
    assert line.endswith(' 0.001290 service=registry env="pro \\"d\\""\n')


def test_json_has_distributions_names() -> None:
    log = Log(formatter="json", fields={"service": "registry", "level": "mine"})
    line = json.loads(lines_of(log, exchange(user="ann", referer="http://x/", received=5)))
    assert line == {
        "auth.user.name": "ann",
        "http.request.host": "registry.example:5000",
        "http.request.id": "67ac5d52-c9fb-4c07-8154-7ebac0dfb418",
        "http.request.method": "GET",
        "http.request.received": 5,
        "http.request.referer": "http://x/",
        "http.request.remoteaddr": "127.0.0.1",
        "http.request.uri": "/v2/team/app/manifests/v1",
        "http.request.useragent": "curl/7.88.1",
        "http.request.version": "1.1",
        "http.response.duration": "1.29ms",
        "http.response.seconds": 0.00129,
        "http.response.status": 200,
        "http.response.written": 396,
        "level": "info",
        "msg": "response completed",
        "service": "registry",
        "time": "2026-11-24T09:00:30.251Z",
        "vars.name": "team/app",
    }


def test_logstash_names_the_rest_as_distribution_does() -> None:
    line = json.loads(lines_of(Log(formatter="logstash"), exchange(status=500)))
    assert line["@timestamp"] == "2026-11-24T09:00:30.251Z"
    assert line["@version"] == "1"
    assert line["message"] == "response completed"
    assert line["level"] == "error"
    assert not line.keys() & {"time", "msg"}


@pytest.mark.distribution
@pytest.mark.parametrize("formatter", ["json", "logstash"])
def test_our_names_are_those_of_the_real_registry(
    registry_factory: RegistryFactory, formatter: str
) -> None:
    registry = registry_factory(extra={"log": {"formatter": formatter}})
    headers = {"User-Agent": "x", "Referer": "http://x/y"}
    registry.request("GET", "/v2/", headers)
    text = ""
    while '"http.request.referer"' not in text:
        text = registry.log.read_text("utf-8")
    found = next(line for line in text.splitlines() if '"http.request.referer"' in line)
    theirs = json.loads(found)
    ours = json.loads(
        lines_of(Log(formatter=formatter), exchange(referer="http://x/y"))  # type: ignore[arg-type] # parametrized
    )
    assert theirs.keys() - ours.keys() == {"go.version", "http.response.contenttype"}


def test_nothing_is_written_where_the_access_log_is_disabled() -> None:
    assert lines_of(Log(access_disabled=True), exchange()) == ""


def test_each_second_has_its_own_time() -> None:
    text = lines_of(Log(), *[exchange(started=1_795_510_830.9 + n) for n in (0, 1, 0)])
    assert re.findall(r"09:00:\d\d", text) == ["09:00:30", "09:00:31", "09:00:30"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v2/a/blobs/uploads/1?_state=SECRET", "/v2/a/blobs/uploads/1?_state=..."),
        ("/v2/a/blobs/uploads/1?digest=sha256:0&_state=S", None),
        ("/x?token=SECRET&n=5", "/x?token=...&n=5"),
        ("/x?n=5;tok%65n=SECRET", "/x?n=5;tok%65n=..."),
        ("/x?a?password=SECRET", "/x?a?password=..."),
        ("/x?N=1&artifactType=a/b&novel=SECRET", "/x?N=1&artifactType=a/b&novel=..."),
        ("/v2/_catalog?n=5&last=a%2Fb", "/v2/_catalog?n=5&last=a%2Fb"),
        ("/v2/c/blobs/uploads/?mount=sha256:0&from=a/b", None),
        ("http://ann:SECRET@host/v2/", "http://host/v2/"),
        ("/v2/a/manifests/sha256:0", "/v2/a/manifests/sha256:0"),
    ],
)
@pytest.mark.parametrize("formatter", FORMATS)
def test_secrets_in_addresses_stay_out(target: str, expected: str | None, formatter: Any) -> None:
    assert expected is None or safe_target(target) == expected
    line = lines_of(Log(formatter=formatter), exchange(target=target, referer=target))
    assert "SECRET" not in line
    assert (expected or "sha256:0") in line


NASTY = st.text(
    st.characters() | st.sampled_from('\n\r"\\\x00\x1b\x7f\x85\x9b\u2028 ?&=@/é\udc80'), max_size=60
)


@pytest.mark.parametrize("formatter", FORMATS)
@given(data=st.data())
def test_clients_cannot_write_the_log(formatter: Any, data: st.DataObject) -> None:
    names = ("method", "target", "client", "user", "agent", "referer", "host", "request_id")
    values = {name: data.draw(NASTY, label=name) for name in names}
    line = lines_of(Log(formatter=formatter, fields={"own": "x"}), exchange(**values))
    assert line.isascii()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if formatter == "text":
        found = LINE.fullmatch(line)
        assert found is not None
        assert found["status"] == "200"
        assert found["fields"] == " own=x"
    else:
        assert json.loads(line)["http.response.status"] == 200


@pytest.mark.parametrize("formatter", FORMATS)
@pytest.mark.parametrize("name", ["target", "agent", "referer", "user", "host"])
@pytest.mark.parametrize("character", ["x", '"', "\x00", "€", "\\"])
def test_lines_stay_short(formatter: Any, name: str, character: str) -> None:
    line = lines_of(Log(formatter=formatter), exchange(**{name: character * 60_000}))
    # In JSON, a character that is not ASCII takes six.
    assert len(line) < (4096 if formatter == "text" else 6 * 1600 + 2000)


def test_the_escaping_is_that_of_strings() -> None:
    line = lines_of(Log(), exchange(agent='a "b"\\\n\té€'))
    assert '"a \\"b\\"\\\\\\n\\t\\xe9\\u20ac"' in line


def test_dockers_agent_has_backslashes_and_is_escaped_once() -> None:
    agent = r"docker/24 UpstreamClient(Docker-Client/24 \(linux\))"
    text = lines_of(Log(), exchange(agent=agent), exchange(agent=agent))
    assert [shlex.split(line)[9] for line in text.splitlines()] == [agent, agent]


def test_many_agents_take_no_memory() -> None:
    access = AccessLog(Log(), os.open(os.devnull, os.O_WRONLY))
    for number in range(2000):
        access.write(exchange(agent=f"agent {number}"))
    assert len(vars(access._format.__self__)["_agents"]) <= 256  # type: ignore[attr-defined] # a bound method
    assert access.close()


async def test_lines_are_held_back_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "log"
    stream = os.open(path, os.O_WRONLY | os.O_CREAT)
    access = AccessLog(Log(), stream)
    access.write(exchange())
    access.write(exchange())
    assert path.read_text() == ""
    async with asyncio.timeout(5):
        while path.read_text().count("\n") != 2:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    for _ in range(2000):
        access.write(exchange())
    # Before the loop could run at all: the buffer is full.
    deadline = time.monotonic() + 5
    while path.stat().st_size < 128 * 1024:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # noqa: ASYNC251 - the loop is to stand still
    assert access.close()
    os.close(stream)


async def test_a_stuck_reader_does_not_stop_the_loop() -> None:
    reading, writing = os.pipe()
    access = AccessLog(Log(), writing)
    slowest = 0.0
    for _ in range(300):
        began = time.perf_counter()
        for _ in range(100):
            access.write(exchange())
        slowest = max(slowest, time.perf_counter() - began)
        await asyncio.sleep(0)
    assert slowest < 0.5
    assert not access.close(0.05)
    os.close(reading)  # the thread's write fails, and it goes on
    assert access.close(5)
    assert access.dropped > 0
    os.close(writing)
