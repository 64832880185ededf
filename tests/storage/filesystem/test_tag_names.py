"""The names of tags, in order."""

from hypothesis import given
from hypothesis import strategies as st

from jettison.storage.filesystem import tag_names as module
from jettison.storage.filesystem.tag_names import sorted_tags

NAMES = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,5}", fullmatch=True), unique=True)


@given(NAMES, st.lists(st.sampled_from([".hidden", "a b", "-x", "ä", "x\n"])), st.integers(1, 5))
def test_however_many_names_go_at_a_time_they_are_sorted(
    names: list[str], others: list[str], run: int
) -> None:
    before, module._RUN = module._RUN, run  # type: ignore[misc]
    try:
        assert sorted_tags([*names, *others]) == sorted(names)
    finally:
        module._RUN = before  # type: ignore[misc]
