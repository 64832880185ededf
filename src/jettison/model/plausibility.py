"""Whether a collection is plausible: a tree may not show the whole truth.

A failed mount, half a restore, and metadata that another program keeps in a database all look like
a registry that is not needed. Absence is therefore never evidence: a collection that looks like one
of these is refused, and the refusal names the option that allows it.
"""

import enum
import math
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

__all__ = [
    "CACHE",
    "GITLAB",
    "MOST_REMOVED",
    "NOTHING_SAID",
    "Amount",
    "Code",
    "Consent",
    "Facts",
    "Objection",
    "Owner",
    "bytes_needed",
    "objections",
]

MOST_REMOVED: Final = 0.5
"""The share of a tree's blobs, or of their bytes, that may go without consent."""

SMALL_BLOBS: Final = 50
SMALL_BYTES: Final = 256 * 1024 * 1024
"""A tree below both may lose any share: it is a trial, or a registry that was cleared out."""

MANY_BARE: Final = 3
BARE_SHARE: Final = 0.25
"""At least so many repositories, and this share of all, are more than abandoned first pushes."""

_SHOWN: Final = 3


class Code(enum.StrEnum):
    """What makes a collection implausible."""

    EMPTY = "no-images"
    SHARE = "large-share"
    OWNER = "foreign-owner"
    MOUNTS = "several-file-systems"


class Amount(msgspec.Struct, frozen=True):
    """How many blobs, and how many bytes they have together."""

    count: int = 0
    bytes: int = 0

    @classmethod
    def of_all(cls, amounts: Iterable["Amount"]) -> "Amount":
        """Return what several amounts are together."""
        found = list(amounts)
        return cls(sum(one.count for one in found), sum(one.bytes for one in found))


class Owner(msgspec.Struct, frozen=True):
    """Another program that a tree belongs to, and the clue that shows it.

    ``knows``: which images exist is told by what it stores elsewhere, so that no collection goes
    by the tree alone. Else it only removes images by itself.
    """

    name: str
    clue: str
    knows: bool = True


CACHE: Final = "a pull-through cache"
GITLAB: Final = "GitLab's registry with its metadata database"


class Consent(msgspec.Struct, frozen=True):
    """What the user allows; ``most`` is the share that may go, from 0 to 1."""

    empty: bool = False
    foreign_owner: bool = False
    most: float = MOST_REMOVED


NOTHING_SAID: Final = Consent()


class Facts(msgspec.Struct, frozen=True):
    """Facts about a tree, and about what a collection would take from it.

    ``repositories`` counts folders; ``images`` tells whether any of them has or had a manifest.
    ``going`` is garbage that no removal asked for, ``staying`` the rest of the storage, with its
    ``bytes`` counted as far as the decision needs. ``mounts`` are paths in the tree that are
    mount points.
    """

    root: str
    repositories: int
    images: bool
    going: Amount
    staying: Amount
    owners: tuple[Owner, ...] = ()
    mounts: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


class Objection(msgspec.Struct, frozen=True):
    """Why a collection is refused: a sentence, and advice.

    ``option`` allows the collection all the same; None if nothing does.
    """

    code: Code
    message: str
    advice: str
    option: str | None


def objections(facts: Facts, consent: Consent) -> Iterator[Objection]:
    """Yield the objections to a collection that ``consent`` does not cover."""
    if facts.mounts:
        places = ", ".join(facts.mounts)
        yield Objection(
            Code.MOUNTS,
            f"{facts.root} is more than one file system ({places} mounted on its own), and files "
            "cannot be set aside and put back from one to another",
            f"Mount one file system at {facts.root} that holds all of it, or at a folder above.",
            None,
        )
    if not consent.foreign_owner:
        for owner in facts.owners:
            if not owner.knows:
                continue
            yield Objection(
                Code.OWNER,
                f"{facts.root} belongs to {owner.name} ({owner.clue}): which images exist is not "
                "in the tree alone",
                f"Let {owner.name} collect it.",
                "--allow-foreign-owner",
            )
    if not consent.empty and not facts.images:
        yield from _empty(facts)
        return
    if not consent.empty:
        yield from _bare(facts)
    if not _is_small(facts):
        yield from _share(facts, consent.most)


def bytes_needed(going: Amount, others: int, most: float) -> float:
    """Return how many bytes must stay, so that the share that goes is small enough."""
    if not going.bytes:
        return 0
    if going.count + others < SMALL_BLOBS or most <= 0:
        return math.inf
    return going.bytes / most - going.bytes


def _empty(facts: Facts) -> Iterator[Objection]:
    stored = facts.going.count + facts.staying.count
    advice = "Check that the whole tree is mounted and restored."
    if not facts.repositories and stored:
        message = f"{facts.root} has {_blobs(stored)} and no repositories"
        yield Objection(Code.EMPTY, message, advice, "--allow-empty")
    elif facts.going.count:
        message = f"{facts.root} has {_blobs(stored)}, and no image in any of its repositories"
        yield Objection(Code.EMPTY, message, advice, "--allow-empty")


def _bare(facts: Facts) -> Iterator[Objection]:
    count = len(facts.bare)
    if count < MANY_BARE or count < BARE_SHARE * facts.repositories:
        return
    shown = ", ".join(facts.bare[:_SHOWN]) + (", …" if count > _SHOWN else "")
    yield Objection(
        Code.EMPTY,
        f"{count:,} of {facts.repositories:,} repositories in {facts.root} have layers and no "
        f"manifests ({shown})",
        "Check whether their _manifests folders are lost or not restored yet.",
        "--allow-empty",
    )


def _is_small(facts: Facts) -> bool:
    stored = facts.going.count + facts.staying.count
    return stored < SMALL_BLOBS and facts.going.bytes + facts.staying.bytes < SMALL_BYTES


def _share(facts: Facts, most: float) -> Iterator[Objection]:
    going, staying = facts.going, facts.staying
    # The bytes of what stays are counted only until it is enough.
    parts = (
        (going.count, going.count + staying.count, "blobs"),
        (going.bytes, going.bytes + staying.bytes, "bytes"),
    )
    share, part, whole, unit = max(
        (part / max(whole, 1), part, whole, u) for part, whole, u in parts
    )
    if part and part > most * whole:
        yield Objection(
            Code.SHARE,
            f"{share:.0%} of the {unit} in {facts.root} would go ({part:,} of {whole:,}), more "
            f"than {most:.0%}",
            "Check the plan (-n), and that the whole tree is mounted and restored.",
            f"--max-removal={math.ceil(100 * share)}%",
        )


def _blobs(count: int) -> str:
    return f"{count:,} blob{'' if count == 1 else 's'}"
