"""Lists of tags: in order, in pieces, and with a bound."""

import gc
import json

from hypothesis import given
from hypothesis import strategies as st

from jettison.model.names import RepoName
from jettison.server import tags as module
from jettison.server.tags import SortedNames, _sorted_tags

NAMES = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,5}", fullmatch=True), unique=True)
APP = RepoName("team/app")


@given(NAMES, st.lists(st.sampled_from([".hidden", "a b", "-x", "ä", "x\n"])), st.integers(1, 5))
def test_however_many_names_go_at_a_time_they_are_sorted(
    names: list[str], others: list[str], run: int
) -> None:
    before, module._RUN = module._RUN, run  # type: ignore[misc]
    try:
        assert _sorted_tags([*names, *others]) == sorted(names)
    finally:
        module._RUN = before  # type: ignore[misc]


@given(NAMES)
def test_the_rest_of_a_list_is_part_of_the_whole(names: list[str]) -> None:
    names.sort()
    listing = SortedNames(APP, 0, names)
    assert json.loads(listing.body) == {"name": "team/app", "tags": names}
    for first in range(len(names) + 2):
        head, rest = listing.parts(first)
        assert json.loads(head + bytes(rest)) == {"name": "team/app", "tags": names[first:]}


def test_lists_that_nobody_holds_on_to_count_no_more() -> None:
    lists = module.Listings(None)  # type: ignore[arg-type]
    held = [SortedNames(APP, 0, ["x" * 100] * 1_000_000) for _ in range(3)]
    for one in held:
        lists._alive.add(one)
    assert lists.full
    del one
    held.pop()
    gc.collect()
    assert not lists.full
