"""The protocol of docs/internals/collecting-in-buckets.md, over every interleaving of its steps."""

from dataclasses import replace

import pytest

from tests.interleavings.protocol import check
from tests.interleavings.states import BLOB, DATA, MANIFEST, REVISION, Asks, Keys, Rules, told

RULES = Rules()
SMALL = replace(RULES, small=True)
TREES = (BLOB | MANIFEST | REVISION, BLOB, DATA)
"""What is there, all of it old: an untagged image, a layer, a blob that no repository has."""


@pytest.mark.parametrize("asks", [Asks.HEAD, Asks.COMMIT, Asks.MANIFEST])
@pytest.mark.parametrize("there", TREES, ids=told)
def test_a_sweep_beside_a_push_breaks_nothing(there: Keys, asks: Asks) -> None:
    found = check(there, RULES, sweeps=1, pushes=(asks,))
    assert not found.trace
    assert found.states > 50


@pytest.mark.parametrize(("sweeps", "pushes"), [(1, 2), (2, 1)])
def test_two_beside_one_break_nothing(sweeps: int, pushes: int) -> None:
    found = check(BLOB, SMALL, sweeps=sweeps, pushes=(Asks.MANIFEST,) * pushes)
    assert not found.trace
    assert found.states > 3000


def test_records_that_are_removed_break_nothing() -> None:
    found = check(BLOB, SMALL, sweeps=1, pushes=(Asks.MANIFEST,), others=2)
    assert not found.trace
    assert found.states > 10_000


@pytest.mark.parametrize(
    ("rule", "others"),
    [
        ("announcing", 0),
        ("listing_again", 0),
        ("looking", 0),
        ("tagging_last", 0),
        ("ending", 0),
        ("newest", 2),
        ("gaps", 1),
    ],
)
def test_each_rule_left_out_breaks_an_image(rule: str, others: int) -> None:
    without = replace(SMALL, **{rule: False})
    assert check(BLOB, without, sweeps=1, pushes=(Asks.MANIFEST,), others=others).trace


@pytest.mark.soak
@pytest.mark.parametrize("asks", [Asks.HEAD, Asks.MANIFEST])
@pytest.mark.parametrize("there", TREES, ids=told)
@pytest.mark.parametrize(("sweeps", "pushes"), [(1, 2), (2, 1)])
def test_many_interleavings(there: Keys, asks: Asks, sweeps: int, pushes: int) -> None:
    assert not check(there, SMALL, sweeps=sweeps, pushes=(asks,) * pushes).trace


@pytest.mark.soak
def test_listings_in_any_order() -> None:
    assert not check(BLOB, RULES, sweeps=1, pushes=(Asks.MANIFEST, Asks.HEAD)).trace


@pytest.mark.soak
@pytest.mark.parametrize("there", [BLOB, DATA], ids=told)
def test_two_sweeps_beside_two_pushes(there: Keys) -> None:
    assert not check(there, SMALL, sweeps=2, pushes=(Asks.MANIFEST, Asks.COMMIT)).trace
