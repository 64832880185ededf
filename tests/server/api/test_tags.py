"""Lists of tags: in order, in pieces, and with a bound."""

import gc
import json

from hypothesis import given
from hypothesis import strategies as st

from jettison.model.names import RepoName
from jettison.server.api import tags as module
from jettison.server.api.tags import SortedNames

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
        lists._alive.add(one)
    assert lists.full
    del one
    held.pop()
    gc.collect()
    assert not lists.full
