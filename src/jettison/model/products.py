"""How registry products treat removed content: one table, each line with its source.

The promise of an undo rests on it. Where blobs go with the last manifest, there is nothing to go
back to; where a registry collects by itself, an undo works until it does. The table is for what has
to be known beforehand; the observed behaviour of a registry counts more.
"""

import enum
from typing import Final

import msgspec

__all__ = ["PRODUCTS", "UNKNOWN", "Collection", "Product", "product"]

_HOUR: Final = 3600.0


class Collection(enum.StrEnum):
    """How, and when, a registry removes blobs that no manifest needs."""

    BY_HAND = "by hand"
    """The operator runs a collector."""
    ITSELF = "itself"
    """The registry, at times of its own; not before ``spared`` seconds have passed."""
    AT_ONCE = "at once"
    """The repository stops serving a blob with the last manifest that lists it."""
    NEVER = "never"
    UNKNOWN = "unknown"


class Product(msgspec.Struct, frozen=True):
    """A registry product with its default settings.

    ``spared`` is how long, in seconds, unneeded blobs stay at least; None if unknown. ``untag``
    tells whether DELETE of a tag removes the tag alone; None if that depends or is unknown.
    ``source`` says where the line comes from.
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
    # If it does not tell which of the two it is, the worse is assumed.
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
    """Return the line of the product that a registry was found to be (``zot/2.1.0``).

    The longest name in the table that ``name`` begins with counts, in any case.
    """
    found = [one for one in PRODUCTS if name.lower().startswith(one.name.lower())]
    return max(found, key=lambda one: len(one.name), default=UNKNOWN)
