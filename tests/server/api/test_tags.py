"""Lists of tags: in order, in pieces, and with a bound."""

import gc
import json
import sys
import threading
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from jettison.model.names import RepoName
from jettison.server.api import tags as module
from jettison.server.api.tags import SortedNames
from jettison.storage.protocol import TagNames

NAMES = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,5}", fullmatch=True), unique=True)
APP = RepoName("team/app")


@given(NAMES)
def test_the_rest_of_a_list_is_part_of_the_whole(names: list[str]) -> None:
    names.sort()
    listing = SortedNames(APP, None, names)
    assert json.loads(listing.body) == {"name": "team/app", "tags": names}
    for first in range(len(names) + 2):
        head, rest = listing.parts(first)
        assert json.loads(head + bytes(rest)) == {"name": "team/app", "tags": names[first:]}


def test_lists_that_nobody_holds_on_to_count_no_more() -> None:
    lists = module.Listings(None)  # type: ignore[arg-type]
    held = [SortedNames(APP, None, ["x" * 100] * 1_000_000) for _ in range(3)]
    for one in held:
        lists._count_in(one)
    assert lists.full
    del one
    held.pop()
    gc.collect()
    assert not lists.full


def test_lists_come_and_go_in_threads_while_it_is_asked_whether_there_are_too_many() -> None:
    storage = SimpleNamespace(tags=lambda _: TagNames(["1"], None))
    lists = module.Listings(storage)

    def make() -> None:
        for _ in range(300):
            held = [lists.read(APP) for _ in range(10)]
            assert None not in held

    makers = [threading.Thread(target=make) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for one in makers:
            one.start()
        while any(one.is_alive() for one in makers):
            assert not lists.full
    finally:
        sys.setswitchinterval(interval)
        for one in makers:
            one.join()
    gc.collect()
    assert not lists.full
    assert lists._bytes == 0
