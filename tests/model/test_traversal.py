import pytest

from jettison.model.traversal import postorder


@pytest.mark.parametrize(
    ("graph", "starts", "expected"),
    [
        ({}, "", ""),
        ({}, "a", "a"),
        ({"a": "bc", "b": "d", "c": "d"}, "a", "dbca"),
        ({"a": "bc", "b": "d", "c": "d"}, "ca", "dcba"),
        ({"a": "b", "b": "a"}, "a", "ba"),
        ({"a": "b", "b": "a"}, "ab", "ba"),
        ({"a": "a"}, "aa", "a"),
        ({"a": "b"}, "bxa", "bxa"),
        ({"a": "bb"}, "a", "ba"),
    ],
)
def test_what_is_below_comes_first(graph: dict[str, str], starts: str, expected: str) -> None:
    assert "".join(postorder(starts, lambda thing: graph.get(thing, ""))) == expected


def test_depth_is_no_limit_and_each_is_asked_once() -> None:
    asked = []

    def below(number: int) -> list[int]:
        asked.append(number)
        return [number - 1] if number else []

    assert postorder([20_000], below) == list(range(20_001))
    assert len(asked) == 20_001
