"""Where things lie in a storage tree: pure functions from names to paths.

All paths are relative to the root directory and use ``/``. What belongs to the registry is below
``docker/registry/v2`` and is Distribution's own layout, so that either program can use the data;
what is ours is below ``jettison``, beside it, which Distribution ignores.
"""

import re
from typing import Final

from jettison.errors import InvalidDigest
from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest
from jettison.storage.protocol import LinkKind

__all__ = [
    "ASIDE_LINK",
    "BLOBS",
    "DRAFTS",
    "KINDS",
    "LAYERS",
    "LINK",
    "LINKS_ASIDE",
    "LOCK",
    "MARKER",
    "OURS",
    "RELATIONS",
    "REPOSITORIES",
    "REVISIONS",
    "RUNS",
    "SET_ASIDE",
    "TAGS",
    "TRASH",
    "UNTAGGED",
    "UPLOADS",
    "MalformedLinkError",
    "blob",
    "blob_data",
    "blob_file",
    "current_link",
    "digest_of",
    "digests_in",
    "history",
    "history_link",
    "layer_link",
    "layers",
    "manifests",
    "parse_link",
    "repository",
    "revision_link",
    "revisions",
    "set_aside",
    "tag_folder",
    "tags",
    "uploads",
]

MARKER: Final = "docker/registry/v2"
"""The folder that tells a storage root from any other folder."""

BLOBS: Final = f"{MARKER}/blobs"
REPOSITORIES: Final = f"{MARKER}/repositories"

OURS: Final = "jettison"
RUNS: Final = f"{OURS}/runs"
LOCK: Final = f"{OURS}/lock"
WRITING: Final = f"{OURS}/writing"
"""Locked by who writes to a repository, where the repository's own folder cannot be."""
DRAFTS: Final = f"{OURS}/drafts"
"""Files being written, before they are renamed to their place."""
SET_ASIDE: Final = f"{OURS}/aside"
"""Blobs that a sweep is about to remove, and will put back if somebody wants them."""
TRASH: Final = f"{OURS}/leaving"
"""Folders of tags and uploads on their way out: renamed here in one step, then emptied."""

LINKS_ASIDE: Final = f"{OURS}/links-aside"
"""There while links lie aside, each beside its place as :data:`ASIDE_LINK`; names what is to go."""

RELATIONS: Final = f"{OURS}/relations"
"""What a server has read of who references whom; it may be removed at any time."""

UNTAGGED: Final = f"{OURS}/untagged"
"""When manifests were first seen without a tag; it may be removed at any time."""

QUARANTINE_PREFIX: Final = "jettison-aside-"
"""Begins the names that a collection of a full disk uses in the root directory itself."""

_OWN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_DESKTOPS: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"})

LINK: Final = "link"
ASIDE_LINK: Final = "link.aside"
"""What a link is renamed to before it is removed; no registry reads a file of this name."""

# Folders of a repository, relative to it.
LAYERS: Final = "_layers"
REVISIONS: Final = "_manifests/revisions"
TAGS: Final = "_manifests/tags"
UPLOADS: Final = "_uploads"
KINDS: Final = {LinkKind.LAYER: LAYERS, LinkKind.REVISION: REVISIONS}
_HEX_RUN: Final = re.compile(r"[0-9a-f]{64,}")


class MalformedLinkError(ValueError):
    """The content of a link is not exactly a digest; the text says what it is instead."""


def blob(digest: Digest) -> str:
    """Return the folder of a blob."""
    encoded = digest.hex
    return f"{BLOBS}/{digest.algorithm}/{encoded[:2]}/{encoded}"


def blob_data(digest: Digest) -> str:
    """Return the file with a blob's bytes."""
    return f"{blob(digest)}/data"


def blob_file(digest: BinaryDigest) -> str:
    """Return the file with a blob's bytes, relative to :data:`BLOBS`."""
    encoded = digest.hex()
    if len(digest) == 32:  # noqa: PLR2004 - nearly all are sha256
        return f"sha256/{encoded[:2]}/{encoded}/data"
    return f"sha512/{encoded[:2]}/{encoded}/data"


def set_aside(digest: Digest) -> str:
    """Return the file that a blob is renamed to before it is removed."""
    return f"{SET_ASIDE}/{digest.algorithm}/{digest.hex}"


def set_aside_names(digest: BinaryDigest) -> tuple[str, str]:
    """Return where a blob may lie that was set aside: the usual place, and that of a full disk."""
    long = Digest.from_binary(digest)
    return set_aside(long), beside(f"{long.algorithm}-{long.hex}")


def beside(what: str) -> str:
    """Return a name in the root directory itself, for when a full disk has no room for a folder."""
    return f"{QUARANTINE_PREFIX}{what}"


def repository(name: str) -> str:
    """Return the folder of a repository, in which other repositories may lie too."""
    return f"{REPOSITORIES}/{name}"


def manifests(name: str) -> str:
    """Return the folder of a repository's revisions and tags."""
    return f"{REPOSITORIES}/{name}/_manifests"


def revisions(name: str) -> str:
    """Return the folder that has a folder for each algorithm of the revisions' digests."""
    return f"{REPOSITORIES}/{name}/{REVISIONS}"


def revision_link(name: str, digest: Digest) -> str:
    """Return the file that makes a manifest part of a repository."""
    return f"{revisions(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def tags(name: str) -> str:
    """Return the folder that has a folder for each tag."""
    return f"{REPOSITORIES}/{name}/{TAGS}"


def tag_folder(name: str, tag: str) -> str:
    """Return the folder of a tag."""
    return f"{tags(name)}/{tag}"


def current_link(name: str, tag: str) -> str:
    """Return the file that says what a tag points to."""
    return f"{tags(name)}/{tag}/current/{LINK}"


def history(name: str, tag: str) -> str:
    """Return the folder of every digest that a tag ever had, by algorithm."""
    return f"{tags(name)}/{tag}/index"


def history_link(name: str, tag: str, digest: Digest) -> str:
    """Return the file that says that a tag once pointed to a digest."""
    return f"{history(name, tag)}/{digest.algorithm}/{digest.hex}/{LINK}"


def layers(name: str) -> str:
    """Return the folder that has a folder for each algorithm of the linked blobs' digests."""
    return f"{REPOSITORIES}/{name}/{LAYERS}"


def layer_link(name: str, digest: Digest) -> str:
    """Return the file that makes a layer or config readable through a repository."""
    return f"{layers(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def uploads(name: str) -> str:
    """Return the folder of a repository's uploads that have not been finished."""
    return f"{REPOSITORIES}/{name}/{UPLOADS}"


def digest_of(algorithm: str, encoded: str) -> Digest | None:
    """Return the digest that two names of folders make, or None if they are no digest."""
    try:
        return Digest(f"{algorithm}:{encoded}")
    except InvalidDigest:
        return None


def is_foreign(name: str) -> bool:
    """Whether no registry makes anything of this name, for it can be no repository, tag or digest.

    A NAS puts ``@eaDir`` into every folder, a desktop ``.DS_Store``, a file system ``.snapshot``.
    """
    return _OWN_NAME.fullmatch(name) is None or name.lower() in _DESKTOPS


def digests_in(text: str) -> set[BinaryDigest]:
    """Return every digest that a damaged name or link may have been meant to be.

    In whatever case, of whatever algorithm it calls itself, and whatever stands around it.
    """
    found: set[BinaryDigest] = set()
    for run in _HEX_RUN.findall(text.lower()):
        for length in ALGORITHMS.values():
            if len(run) >= length:
                found.update(
                    BinaryDigest(bytes.fromhex(one)) for one in (run[:length], run[-length:])
                )
    return found


def parse_link(raw: bytes) -> Digest:
    """Return the digest that a link holds.

    A link is exactly a digest: no newline, no space. Distribution reads it that way, so a link
    that an editor has "put right" is as broken for it as an empty one. Raises
    :class:`MalformedLinkError`.
    """
    if not raw:
        raise MalformedLinkError("the link is empty")
    try:
        return Digest(raw.decode("ascii"))
    except (InvalidDigest, UnicodeDecodeError):
        pass
    if raw != raw.strip():
        raise MalformedLinkError("the link has white space around its digest")
    # Not what it holds instead: it may be a hard link to a file that others are not to see.
    raise MalformedLinkError("the link holds something that is no digest")
