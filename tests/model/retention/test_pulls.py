"""The book of pulls: what it knows, and since when."""

import pytest

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention import pulls
from jettison.model.retention.evidence import NO_TIMES, Evidence, Moment, Times
from jettison.model.retention.pulls import (
    EXPIRES,
    FORGET,
    Batch,
    KnownPulls,
    PullBook,
    Terms,
    with_pulls,
)
from tests.model.retention.building import DAY, NOW, Repository, decided, digest_of, kept, removed

APP = RepoName("team/app")
ONE, TWO = digest_of("one"), digest_of("two")
SERVER = Terms()
ALONE = Terms(across_restarts=True)
LISTENER = Terms(silence=3600.0)
NOTHING = Batch()


def pulled(at: float, tag: str = "v1", digest: Digest = ONE) -> Batch:
    return Batch(pulls={(APP, tag, digest): at})


def heard(at: float, source: str = "process-1", address: str = "host:5000") -> Batch:
    return Batch(heard={source: (address, at, at)})


def since(book: PullBook, now: float) -> float | None:
    return book.known(now).watching_since


# Who keeps it.


def test_watch_begins_with_the_server_and_lasts_as_long_as_it_writes() -> None:
    book = PullBook()
    assert since(book, 0) is None
    book.join("a", 1000, SERVER)
    assert since(book, 1000) == 1000
    book.note("a", 1010, pulled(1005.2), SERVER)
    assert since(book, 1010 + EXPIRES) == 1000
    assert since(book, 1011 + EXPIRES) is None
    assert book.repositories[APP].tags == {"v1": 1006}  # rounded to the safe side
    assert book.repositories[APP].digests == {ONE: 1006}


def test_pause_without_a_server_is_a_gap() -> None:
    book = PullBook()
    book.join("a", 1000, SERVER)
    book.leave("a", 2000, pulled(1999), SERVER)
    assert since(book, 2001) is None  # who serves now, if anybody, does not say
    book.join("b", 2002, SERVER)
    assert since(book, 2002) == 2002
    assert book.repositories[APP].tags == {"v1": 1999}  # that it was pulled then stays true


def test_pause_is_no_gap_where_nothing_else_serves_the_storage() -> None:
    book = PullBook()
    book.join("a", 1000, ALONE)
    book.leave("a", 2000, NOTHING, ALONE)
    assert since(book, 9000) == 1000
    book.join("b", 9000, ALONE)
    assert since(book, 9000) == 1000


@pytest.mark.parametrize("terms", [SERVER, ALONE])
def test_killed_server_took_its_last_pulls_along(terms: Terms) -> None:
    book = PullBook()
    book.join("killed", 1000, terms)
    book.note("killed", 1010, NOTHING, terms)
    book.join("next", 1020, terms)
    book.note("next", 1011 + EXPIRES, NOTHING, terms)
    assert since(book, 1011 + EXPIRES) == 1011 + EXPIRES
    # And where nobody comes at once.
    book.join("later", 99_000, terms)
    assert since(book, 99_000) == 99_000


def test_server_that_takes_over_from_a_running_one_leaves_no_gap() -> None:
    book = PullBook()
    book.join("old", 1800, SERVER)
    book.note("old", 1990, NOTHING, SERVER)
    book.join("new", 1995, SERVER)
    book.leave("old", 2000, NOTHING, SERVER)
    book.note("new", 2000, NOTHING, SERVER)
    assert since(book, 2000) == 1800


def test_keeper_that_others_gave_up_goes_on_where_the_book_begins_anew() -> None:
    book = PullBook()
    book.join("slow", 1000, SERVER)
    book.join("quick", 1000, SERVER)
    book.note("quick", 1001 + EXPIRES, NOTHING, SERVER)
    book.note("slow", 1002 + EXPIRES, pulled(1100), SERVER)
    assert since(book, 1002 + EXPIRES) == 1001 + EXPIRES
    assert book.repositories[APP].tags == {"v1": 1100}


def test_lost_batch_begins_the_book_anew() -> None:
    book = PullBook()
    book.join("a", 1000, SERVER)
    book.note("a", 1010, Batch(lost=True), SERVER)
    assert since(book, 1010) == 1010


def test_server_that_keeps_no_book_ends_the_watch() -> None:
    book = PullBook()
    book.join("a", 1000, ALONE)
    book.end_watch()
    assert since(book, 1001) is None
    book.join("b", 2000, ALONE)
    assert since(book, 2000) == 2000


def test_book_of_the_future_is_not_relied_on() -> None:
    book = PullBook()
    book.join("a", 5000, SERVER)
    assert since(book, 4000) is None


# Whom a listener hears.


def listening() -> PullBook:
    book = PullBook()
    book.join("listener", 900, LISTENER)
    assert since(book, 900) is None  # it has heard of nobody
    book.note("listener", 1000, heard(990), LISTENER)
    assert since(book, 1000) == 990
    return book


def test_silence_of_a_registry_is_no_evidence_until_it_is_heard_again() -> None:
    book = listening()
    later = 990 + 3601.0
    book.note("listener", later, NOTHING, LISTENER)
    known = book.known(later)
    assert known.watching_since is None
    assert "host:5000" in known.unwatched
    book.note("listener", later + 10, heard(later + 5), LISTENER)
    assert since(book, later + 10) == 990


def test_listener_that_was_down_misses_nothing_that_the_same_process_tells_it_later() -> None:
    book = listening()
    book.leave("listener", 2000, heard(1999), LISTENER)
    assert since(book, 2000) is None
    book.join("another", 50_000, LISTENER)
    assert since(book, 50_000) is None
    book.note("another", 50_020, heard(50_010), LISTENER)
    assert since(book, 50_020) == 990


def test_killed_listener_had_taken_events_that_nobody_sends_again() -> None:
    book = listening()
    book.join("another", 1100 + EXPIRES, LISTENER)
    book.note("another", 1110 + EXPIRES, heard(1105 + EXPIRES), LISTENER)
    assert since(book, 1110 + EXPIRES) == 1100 + EXPIRES


def test_registry_that_began_anew_lost_what_it_had_not_told() -> None:
    book = listening()
    book.note("listener", 1200, heard(1190, "process-2"), LISTENER)
    assert since(book, 1200) == 1190
    assert list(book.sources) == ["process-2"]  # the other one of that address is no more
    across = Terms(across_restarts=True, silence=3600.0)
    book.note("listener", 1300, NOTHING, across)
    book.note("listener", 1310, heard(1305, "process-3"), across)
    assert since(book, 1310) == 1190


def test_another_registry_counts_from_its_first_word() -> None:
    book = listening()
    across = Terms(across_restarts=True, silence=3600.0)
    book.note("listener", 1200, heard(1190, "other", "elsewhere:5000"), across)
    assert since(book, 1200) == 1190
    assert len(book.sources) == 2


def test_registry_that_is_gone_is_given_up_while_others_speak() -> None:
    book = listening()
    book.note("listener", 1200, heard(1190, "other", "elsewhere:5000"), LISTENER)
    late = 991 + FORGET
    book.note("listener", late, heard(late), LISTENER)
    assert list(book.sources) == ["process-1", "other"]
    late = 1192 + FORGET
    book.note("listener", late, heard(late), LISTENER)
    assert list(book.sources) == ["process-1"]
    assert since(book, late) == late


def test_number_of_registries_is_bounded() -> None:
    book = listening()
    for number in range(200):
        book.note("listener", 1200, heard(1100, f"s{number}", f"h{number}"), LISTENER)
    assert len(book.sources) == pulls.MOST_SOURCES


# That it is bounded.


def test_full_book_drops_the_oldest_and_begins_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "MOST_ENTRIES", 8)
    book = PullBook()
    book.join("a", 1000, SERVER)
    for number in range(5):
        batch = pulled(1010.0 + number, f"t{number}", digest_of(f"{number}"))
        book.note("a", 1020, batch, SERVER)
    tags = book.repositories[APP].tags
    assert tags == {"t2": 1012, "t3": 1013, "t4": 1014}
    assert since(book, 1020) == 1012
    # A repository that has nothing left is not in it.
    for number in range(5):
        book.note(
            "a", 3000, Batch(pulls={("b", f"t{number}", f"d{number}"): 2000 + number}), SERVER
        )
    assert list(book.repositories) == ["b"]


# What a policy makes of it.


def test_evidence_has_the_last_pulls_of_the_book_and_of_the_registry() -> None:
    book = PullBook()
    book.join("a", 1000, SERVER)
    book.note("a", 2000, pulled(1500), SERVER)
    evidence = Evidence(
        {Tag("v1"): Times(pushed=Moment(5, "x"), pulled=Moment(1400, "Harbor"))},
        {ONE: Times(pulled=Moment(1600, "Harbor"))},
        watching_since=1200,
    )
    found = with_pulls(evidence, book.known(2000), APP)
    assert found.tags == {Tag("v1"): Times(Moment(5, "x"), pulled=Moment(1500, "book of pulls"))}
    assert found.manifests == {ONE: Times(pulled=Moment(1600, "Harbor"))}
    assert found.watching_since == 1000  # either source is enough
    assert with_pulls(evidence, book.known(9000), APP).watching_since == 1200
    assert with_pulls(evidence, book.known(2000), RepoName("other")).tags == evidence.tags


def test_push_counts_only_if_no_later_one_can_have_been_missed() -> None:
    book = listening()
    book.note("listener", 1200, Batch(pushes={(APP, ONE): 1100, (APP, TWO): 1150}), LISTENER)
    better = Evidence(manifests={TWO: Times(pushed=Moment(7, "Harbor"))})
    found = with_pulls(better, book.known(1200), APP).manifests
    assert found[ONE].pushed == Moment(1100, "notification")
    assert found[TWO].pushed == Moment(7, "Harbor")
    book.note("listener", 1300, Batch(lost=True), LISTENER)
    assert with_pulls(Evidence(), book.known(1300), APP).manifests == {}


def test_names_that_are_none_are_passed_over() -> None:
    batch = Batch(
        pulls={(APP, "not a tag", "sha256:0"): 1100}, pushes={(APP, "x"): 1100, ("", ""): 1}
    )
    book = listening()
    book.note("listener", 1200, batch, LISTENER)
    found = with_pulls(Evidence(), book.known(1200), APP)
    assert (found.tags, found.manifests) == ({}, {})


UNUSED = 'rules: [{tags: ["*"], remove: {not_pulled_within: 30d}}]'


def test_never_pulled_and_not_known_differ() -> None:
    repository = Repository()
    repository.add("one", "v1", pushed=100)
    reason = decided(repository, UNUSED).decisions[0]
    assert reason.reason.value == "pulls-unknown"
    repository.watching_since = NOW - 31 * DAY
    assert removed(decided(repository, UNUSED)) == {"v1": "not-pulled"}


def test_pull_of_a_platform_is_a_pull_of_its_image() -> None:
    repository = Repository()
    repository.watching_since = NOW - 31 * DAY
    repository.add("index", "v1", pushed=100, children=["amd64", "arm64"])
    repository.add("amd64", pushed=100)
    repository.add("arm64", pushed=100, pulled=3)
    repository.add("unused", "v0", pushed=100)
    found = decided(repository, UNUSED)
    assert kept(found) == {"v1": "pulled"}
    assert removed(found) == {"v0": "not-pulled"}


def test_untagged_image_whose_platform_is_pulled_is_in_use() -> None:
    repository = Repository()
    repository.add("index", untagged=20, pushed=100, children=["amd64"])
    repository.add("amd64", pushed=100, pulled=3)
    policy = "rules: [{state: untagged, remove: {older_than: 7d}}]"
    assert removed(decided(repository, policy)) == {}
    repository.times[digest_of("amd64")] = NO_TIMES
    assert len(removed(decided(repository, policy))) == 1


def test_decision_says_why_pulls_are_not_known() -> None:
    repository = Repository()
    repository.add("one", "v1", pushed=100)
    known = KnownPulls(None, "the book of pulls is not kept since yesterday")
    evidence = with_pulls(repository.evidence, known, repository.name)
    assert evidence.unwatched == "the book of pulls is not kept since yesterday"
