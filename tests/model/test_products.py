import pytest

from jettison.model.products import PRODUCTS, Collection, product


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Distribution 2.x", "Distribution 2"),
        ("Distribution 3.x", "Distribution 3"),
        ("Distribution", "Distribution"),
        ("zot/2.1.0", "zot"),
        ("Jettison/0.1.0", "Jettison"),
        ("GitLab", "GitLab"),
        ("GitLab without database", "GitLab without database"),
        ("gitea", "Gitea"),
        ("OCI registry", "OCI registry"),
    ],
)
def test_product_is_known_by_the_longest_name(name: str, known: str) -> None:
    assert product(name).name == known


def test_nothing_is_promised_for_what_is_not_known() -> None:
    assert product("something else").collection is Collection.UNKNOWN


def test_each_line_has_a_name_of_its_own_and_a_source() -> None:
    assert len({one.name for one in PRODUCTS}) == len(PRODUCTS)
    assert all(one.source for one in PRODUCTS)


def test_only_what_collects_itself_spares_for_a_time() -> None:
    spared = [one for one in PRODUCTS if one.spared is not None]
    assert {one.collection for one in spared} == {Collection.ITSELF}
