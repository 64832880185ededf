"""What makes a collection implausible, and what says that it is meant."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.model.plausibility import (
    NOTHING_SAID,
    Amount,
    Code,
    Consent,
    Facts,
    Owner,
    bytes_needed,
    objections,
)

LARGE = Facts("/data", 3, images=True, going=Amount(10, 1000), staying=Amount(90, 9000))
GIB = 1024**3


def codes(consent: Consent = NOTHING_SAID, **changed: Any) -> list[Code]:
    facts = msgspec.structs.replace(LARGE, **changed)
    return [one.code for one in objections(facts, consent)]


def test_an_ordinary_collection_is_plausible() -> None:
    assert codes() == []
    assert codes(going=Amount(), staying=Amount()) == []
    assert codes(repositories=0, images=False, going=Amount(), staying=Amount()) == []


def test_blobs_and_no_repositories() -> None:
    assert codes(repositories=0, images=False, going=Amount(), staying=Amount(3)) == [Code.EMPTY]
    assert codes(Consent(empty=True), repositories=0, images=False) == []


def test_repositories_without_an_image() -> None:
    assert codes(images=False) == [Code.EMPTY]
    # A registry whose first push is under way.
    assert codes(images=False, going=Amount(), staying=Amount(3)) == []


@pytest.mark.parametrize(
    ("bare", "repositories", "refused"),
    [(1, 1, False), (2, 3, False), (3, 13, False), (3, 12, True), (3, 6, True), (30, 100, True)],
)
def test_repositories_that_lost_their_manifests(
    bare: int, repositories: int, *, refused: bool
) -> None:
    """One or two may be first pushes that were given up; so many are not."""
    names = tuple(f"app{number}" for number in range(bare))
    assert codes(bare=names, repositories=repositories) == [Code.EMPTY] * refused
    small = codes(bare=names, repositories=repositories, going=Amount(1), staying=Amount(9))
    assert small == [Code.EMPTY] * refused
    assert codes(Consent(empty=True), bare=names, repositories=repositories) == []


@pytest.mark.parametrize(
    ("going", "staying", "refused"),
    [
        (Amount(50, 50), Amount(50, 50), False),
        (Amount(51, 50), Amount(49, 50), True),
        (Amount(10, 51), Amount(90, 49), True),
        (Amount(40, 400), Amount(9, 10), False),
        (Amount(40, GIB), Amount(9, 10), True),
        (Amount(100, 100), Amount(), True),
    ],
)
def test_a_large_share(going: Amount, staying: Amount, *, refused: bool) -> None:
    assert codes(going=going, staying=staying) == [Code.SHARE] * refused
    assert codes(Consent(most=1.0), going=going, staying=staying) == []


@given(
    going=st.builds(Amount, st.integers(1, 200), st.integers(1, 2**40)), stay=st.integers(0, 200)
)
def test_the_option_it_names_is_enough(going: Amount, stay: int) -> None:
    facts = msgspec.structs.replace(LARGE, going=going, staying=Amount(stay, stay * 1000))
    for one in objections(facts, NOTHING_SAID):
        assert one.option is not None
        _, percent = one.option.split("=")
        most = int(percent.removesuffix("%")) / 100
        assert list(objections(facts, Consent(most=most))) == []


@given(st.integers(1, 2**40), st.integers(50, 1000), st.sampled_from([0.1, 0.5, 0.9]))
def test_so_many_bytes_are_enough(size: int, others: int, most: float) -> None:
    going = Amount(1, size)
    needed = bytes_needed(going, others, most)
    enough = Amount(others, int(needed) + 1)
    assert codes(Consent(most=most), going=going, staying=enough) == []


def test_whose_tree_it_is() -> None:
    owner = Owner("GitLab", "its lock file")
    [one] = objections(msgspec.structs.replace(LARGE, owners=(owner,)), NOTHING_SAID)
    assert one.option == "--allow-foreign-owner"
    assert "GitLab (its lock file)" in one.message
    assert codes(Consent(foreign_owner=True), owners=(owner,)) == []


def test_nothing_makes_several_file_systems_one() -> None:
    everything = Consent(empty=True, foreign_owner=True, most=1.0)
    [one] = objections(msgspec.structs.replace(LARGE, mounts=("docker",)), everything)
    assert one.code is Code.MOUNTS
    assert one.option is None
