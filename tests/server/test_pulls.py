"""Pulls that a server writes down: which, in what book, and what becomes of them."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.configuration.settings import PullRecords
from jettison.demo import images
from jettison.model.mediatypes import ACCEPT
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.pulls import EXPIRES, KnownPulls, Terms
from jettison.server import pulls as module
from jettison.server.observing.exchange import Exchange
from jettison.server.pulls import PullKeeper, Saver
from jettison.storage.memory import MemoryStorage
from jettison.storage.pulls import PullBookFile, book_of, read_book
from tests.server.asking import image, starting
from tests.support.missing import need
from tests.support.registry import JettisonRegistry

DIGEST = "sha256:" + "a" * 64
GET = {"Accept": ACCEPT, "User-Agent": "docker/24"}


async def at_once(function: Callable[[], None]) -> None:
    function()


def exchange(agent: str = "docker/24", user: str = "", at: float = 1500.0) -> Exchange:
    return Exchange("1", "GET", "/", agent=agent, user=user, started=at)


def book_in(server: JettisonRegistry, later: float = 0.0) -> KnownPulls:
    from jettison.storage.filesystem.tree import StorageTree

    found = read_book(StorageTree(server.root), time.time() + later)
    assert found is not None
    return found


# Which pulls count.


def kept(settings: PullRecords, *exchanges: Exchange) -> dict[str, int]:
    book = book_of(MemoryStorage())
    keeper = PullKeeper(settings, book, lambda: 2000.0)

    async def serve() -> None:
        await keeper.start(at_once)
        for number, one in enumerate(exchanges):
            keeper.note(one, "app", DIGEST, f"t{number}")
        await keeper.stop(at_once)

    asyncio.run(serve())
    known = book.read(2000.0)
    if known is None or "app" not in known.repositories:
        return {}
    return known.repositories["app"].tags


def test_own_reading_and_that_of_chosen_agents_and_users_is_no_pull() -> None:
    settings = PullRecords(
        ignore_agents=(Pattern("trivy*"), Pattern("re:skopeo/1\\..*")),
        ignore_users=(Pattern("mirror"),),
    )
    found = kept(
        settings,
        exchange(),
        exchange("jettison/1.2"),
        exchange("jettison"),
        exchange("Trivy/0.5"),
        exchange("trivy/0.5"),
        exchange("skopeo/1.9"),
        exchange(user="mirror"),
        exchange(user="mirror-2"),
        exchange("jettisoned"),
    )
    assert sorted(found) == ["t0", "t3", "t7", "t8"]


def test_disabled_book_is_not_made_and_one_that_is_there_ends_its_watch() -> None:
    assert kept(PullRecords(enabled=False), exchange()) == {}
    book = book_of(MemoryStorage())
    book.change(lambda found: found.join("a", 1000, Terms(across_restarts=True)))
    asyncio.run(PullKeeper(PullRecords(enabled=False), book).start(at_once))
    known = book.read(1000)
    assert known is not None
    assert known.watching_since is None


# When they cannot be written.


class Failing:
    """Runs what waits for the disk, as long as it is told to."""

    def __init__(self, book: PullBookFile) -> None:
        self.book = book
        self.broken = False

    async def __call__(self, function: Callable[[], None]) -> None:
        from jettison.errors import StorageError

        if self.broken:
            raise StorageError("no space left on device")
        function()


def saver(book: PullBookFile, clock: Callable[[], float]) -> Saver:
    return Saver(book, Terms(), clock)


def test_what_could_not_be_written_is_written_later(caplog: pytest.LogCaptureFixture) -> None:
    book = book_of(MemoryStorage())
    run, now = Failing(book), 1000.0
    one = saver(book, lambda: now)

    async def serve() -> None:
        await one.join(run)
        one.batch.pulls["app", "v1", DIGEST] = 1001.0
        run.broken = True
        await one.save(run)
        one.batch.pulls["app", "v2", DIGEST] = 1002.0
        await one.save(run)
        run.broken = False
        await one.save(run)

    asyncio.run(serve())
    known = book.read(1000)
    assert known is not None
    assert known.watching_since == 1000
    assert known.repositories["app"].tags == {"v1": 1001, "v2": 1002}
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]  # not one a save


def test_what_there_is_no_room_for_begins_the_book_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    book = book_of(MemoryStorage())
    run, now = Failing(book), 1000.0
    one = saver(book, lambda: now)

    async def serve() -> None:
        nonlocal now
        await one.join(run)
        run.broken = True
        for number in range(3):
            one.batch.pulls["app", f"v{number}", DIGEST] = 1001.0
        await one.save(run)
        run.broken, now = False, 1200.0
        await one.save(run)

    asyncio.run(serve())
    known = book.read(1200)
    assert known is not None
    assert known.watching_since == 1200


def test_save_that_is_broken_off_loses_nothing() -> None:
    book = book_of(MemoryStorage())
    one = saver(book, lambda: 1000.0)

    async def serve() -> None:
        await one.join(at_once)
        one.batch.pulls["app", "v1", DIGEST] = 1001.0
        stuck = asyncio.Event()

        async def never(_: Callable[[], None]) -> None:
            await stuck.wait()

        task = asyncio.create_task(one.save(never))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await one.leave(at_once)

    asyncio.run(serve())
    known = book.read(1000)
    assert known is not None
    assert known.repositories["app"].tags == {"v1": 1001}


# In a server.


def test_get_of_a_manifest_is_a_pull_and_head_is_none(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        began = time.time()
        index = images.index([image("a"), image("b")])
        digest = server.push("team/app", "v1", index)
        server.push("team/app", "v2", image("c"))
        for method, reference in (
            ("HEAD", "v2"),
            ("GET", "v1"),
            ("GET", index.members[0].digest),
            ("GET", "missing"),
        ):
            server.request(method, f"/v2/team/app/manifests/{reference}", GET)
        own = GET | {"User-Agent": "jettison/1"}
        server.request("GET", "/v2/team/app/manifests/v2", own)
        server.stop()
        found = book_in(server)
        pulls = found.repositories["team/app"]
        assert set(pulls.tags) == {"v1"}
        assert set(pulls.digests) == {digest, index.members[0].digest}
        assert all(began <= at <= time.time() + 1 for at in pulls.tags.values())
        assert found.watching_since is None  # nobody keeps it now


def test_restart_is_a_gap_unless_nothing_else_serves_the_storage(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        first = book_in(server).watching_since
        server.restart()
        second = book_in(server).watching_since
        assert first is not None
        assert second is not None
        assert second > first
        server.reconfigure(extra={"jettison": {"pulls": {"across_restarts": True}}})
        assert book_in(server).watching_since == second
        server.stop()
        assert book_in(server).watching_since == second


def test_killed_server_is_given_up(tmp_path: Path) -> None:
    with starting(tmp_path, extra={"jettison": {"pulls": {"across_restarts": True}}}) as server:
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        assert book_in(server, EXPIRES + 1).watching_since is None
        server.start()
        # The one that was killed is still among its keepers, so it is not relied on for long.
        assert book_in(server, EXPIRES + 1).watching_since is None


def test_several_processes_keep_one_book(tmp_path: Path) -> None:
    extra = {"jettison": {"workers": 3}}
    with starting(tmp_path, extra=extra) as server:
        server.push("app", "v0", image())
        for number in range(40):
            server.push("app", f"v{number}", image())
            # Each on a connection of its own, so that each process gets some.
            server.request("GET", f"/v2/app/manifests/v{number}", GET)
        server.stop()
        assert set(book_in(server).repositories["app"].tags) == {f"v{n}" for n in range(40)}


def test_server_serves_though_the_book_cannot_be_written(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        server.push("app", "v1", image())
        server.stop()
        place = server.root / "jettison" / "pulls"
        (place / "book.json").unlink()
        (place / "book.json").mkdir()
        server.start()
        assert server.request("GET", "/v2/app/manifests/v1", GET).status == 200
        server.stop()
        assert "pulls are not written down" in server.log.read_text(encoding="utf-8")


def test_skopeo_pulls(tmp_path: Path) -> None:
    need("skopeo")
    with starting(tmp_path) as server:
        server.push("app", "v1", image())
        server.pull_skopeo("app", "v1")
        server.stop()
        assert set(book_in(server).repositories["app"].tags) == {"v1"}
