"""What registries do with what was removed, by product: one table, each line with its source.

A removal's promise of an undo rests on it: where blobs go with the last manifest there is nothing
to go back to, and where a registry collects by itself an undo works until it does. What a registry
is seen to do counts more than this table; it is for what has to be known beforehand.
"""

import enum
from typing import Final

import msgspec

__all__ = ["PRODUCTS", "Collection", "Product", "product"]

_HOUR: Final = 3600.0


class Collection(enum.StrEnum):
    """Who removes blobs that no manifest needs any more, and when."""

    BY_HAND = "by hand"
    """Somebody runs a collector."""
    ITSELF = "itself"
    """The registry, at times of its own; not before ``spared`` seconds have passed."""
    AT_ONCE = "at once"
    """The repository stops serving a blob with the last manifest that lists it."""
    NEVER = "never"
    UNKNOWN = "unknown"


class Product(msgspec.Struct, frozen=True):
    """What is known of a registry's program as it comes, with its own defaults.

    ``spared`` is how long (seconds) what is not needed stays at least, None if that is not known.
    ``untag`` is whether DELETE of a tag removes the tag alone, None where it depends or is not
    known. ``source`` says how the line came about.
    """

    name: str
    collection: Collection
    source: str
    spared: float | None = None
    untag: bool | None = None

    @property
    def keeps_blobs(self) -> bool:
        """Whether a manifest can be put back right after it was removed."""
        return self.collection is not Collection.AT_ONCE


UNKNOWN: Final = Product("OCI registry", Collection.UNKNOWN, "nothing is known of it")

PRODUCTS: Final = (
    Product("Distribution 2", Collection.BY_HAND, "tried: 2.8.2", untag=False),
    Product("Distribution 3", Collection.BY_HAND, "tried: 3.1.1", untag=True),
    Product("Distribution", Collection.BY_HAND, "tried: 2.8.2 and 3.1.1"),
    Product("Jettison", Collection.BY_HAND, "this program", untag=True),
    Product("zot", Collection.ITSELF, "tried: 2.1, gcDelay 1 h", spared=_HOUR, untag=True),
    Product("olareg", Collection.ITSELF, "tried: grace period 1 h", spared=_HOUR, untag=True),
    Product("go-containerregistry", Collection.NEVER, "tried: crane registry serve", untag=True),
    Product(
        "Gitea", Collection.AT_ONCE, "tried: 1.26, a blob is 404 with its last manifest", untag=True
    ),
    Product("Forgejo", Collection.AT_ONCE, "not tried: a fork of Gitea", untag=True),
    Product(
        "GitLab with database",
        Collection.ITSELF,
        "tried: a fork, reviewafter 24 h",
        spared=24 * _HOUR,
        untag=True,
    ),
    Product("GitLab without database", Collection.BY_HAND, "tried: a fork", untag=True),
    # Which of the two it is, is not always told; then the worse is assumed.
    Product("GitLab", Collection.ITSELF, "as with its database", spared=24 * _HOUR, untag=True),
    Product("Harbor", Collection.ITSELF, "read in its sources: collects on a schedule"),
    Product(
        "Quay",
        Collection.ITSELF,
        "read in its sources: collects after its time machine",
        untag=True,
    ),
    Product("Google", Collection.ITSELF, "read, not tried", untag=True),
    Product("GitHub", Collection.ITSELF, "read, not tried", untag=False),
    Product("Docker Hub", Collection.ITSELF, "read, not tried", untag=False),
    Product("Amazon ECR", Collection.ITSELF, "read, not tried"),
)


def product(name: str) -> Product:
    """Return what is known of the product that a registry was found to be (``zot/2.1.0``).

    The longest name of the table that ``name`` begins with counts, whatever its case.
    """
    found = [one for one in PRODUCTS if name.lower().startswith(one.name.lower())]
    return max(found, key=lambda one: len(one.name), default=UNKNOWN)
