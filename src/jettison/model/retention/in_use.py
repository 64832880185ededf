"""Lists of images in use: what a cluster or a machine says that it runs, for a run to leave alone.

A list is text with a reference on each line, or JSON as ``kubectl``, ``docker``, ``podman``,
``nerdctl`` and ``crictl`` print it (:mod:`jettison.model.retention.in_use_json`). What is
not understood is an error, since half a list protects half of what runs.

Who runs an image may know the registry by another name: a mirror, a service of the cluster, another
port. So a reference is compared by its path and tag, whatever its host, and a digest in every
repository. That can only keep more.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from jettison.errors import InvalidDigest, InvalidDocument, InvalidName, Refused
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.printable import printable
from jettison.model.retention.decide import Held
from jettison.model.retention.in_use_json import Use, uses_of

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern

__all__ = ["LARGEST", "Named", "held_together", "read_in_use", "understand"]

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a list; kubectl prints 5 to 20 KB for each pod."""

_HINT: Final = "Write a reference on each line, or see docs/in-use.md for what prints a list."
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),  # PowerShell's >
    (b"\xfe\xff", "utf-16"),
)
_SCHEME: Final = re.compile(r"(?:docker-pullable|docker|oci)://")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_ID: Final = re.compile(r"[0-9a-f]{64}")
_SHORT_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{12,63}")
_JSON: Final = re.compile(r"\s*(?:\{|\[(?![0-9A-Fa-f:.]+\]:?\d*/))")
"""A list may begin with a host that is an IPv6 address, too."""

_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_MOST_TOLD: Final = 5
_LIBRARY: Final = "library/"
_K = TypeVar("_K")


class Named(NamedTuple):
    """What a text names: an image by ``repositories`` and ``tag``, or by ``digest``, or both.

    ``digest`` is that of a manifest, or of an image's config, which is what Docker and containerd
    call its ID. ``sure``: whoever gave the text can mean nothing else; the ID of an image that
    Podman or CRI-O pulled in part is no digest that a registry knows.
    """

    repositories: tuple[RepoName, ...] = ()
    tag: Tag | None = None
    digest: Digest | None = None
    sure: bool = True


def understand(text: str) -> Named | None:
    """Return what a reference or an image's ID names; None if it cannot be told.

    Without tag and digest it is ``latest``. A path of one part is also that of Docker Hub's
    ``library/``, and the other way round.
    """
    text = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    if _ID.fullmatch(text) is not None:
        return Named(digest=Digest(f"sha256:{text}"), sure=False)
    if _SHORT_ID.fullmatch(text) is not None:
        return None
    try:
        if text.startswith(("sha256:", "sha512:")):
            return Named(digest=Digest(text))
        return _reference(text)
    except (InvalidDigest, InvalidName):
        return None


def _reference(text: str) -> Named | None:
    name, at, encoded = text.partition("@")
    digest = Digest(encoded) if at else None
    host, slash, path = name.partition("/")
    # As every client tells a host from the first part of a path.
    if not slash or not (
        "." in host or ":" in host or host.lower() == "localhost" or host != host.lower()
    ):
        path = name
    elif _HOST.fullmatch(host) is None:
        return None
    path, colon, tag = path.partition(":")
    found = [path]
    if "/" not in path:
        found.append(_LIBRARY + path)
    elif path.count("/") == 1 and path.startswith(_LIBRARY):
        found.append(path.removeprefix(_LIBRARY))
    wanted = Tag(tag) if colon else None if at else Tag("latest")
    return Named(tuple(map(RepoName, found)), wanted, digest)


def read_in_use(raw: bytes, what: str, *, may_be_empty: bool = False) -> Held:
    """Return what a list of images in use holds, each with who uses it.

    ``what`` names the list in errors. Raises :class:`~jettison.errors.InvalidDocument` if any
    of it is not understood, and :class:`~jettison.errors.Refused` if it names no image, unless
    it ``may_be_empty``.
    """
    if len(raw) > LARGEST:
        message = f"{what} is larger than {LARGEST:,} bytes, the limit for a list of images in use"
        raise InvalidDocument(message, hint="Give several lists, each with an --in-use.")
    text = _text(raw, what)
    try:
        is_json = _JSON.match(text) is not None
        uses = list(uses_of(text.encode())) if is_json else list(_lines(text))
    except InvalidDocument as error:
        raise InvalidDocument(f"{what}: {error.message}", hint=error.hint or _HINT) from None
    held = _hold(uses, what)
    if not may_be_empty and not held.tags and not held.digests:
        raise Refused(
            f"{what} names no image in use, as if nothing were running",
            hint="Look at what printed it: a command that fails prints nothing.",
            again=("--in-use-may-be-empty",),
        )
    return held


def held_together(lists: Iterable[Held]) -> Held:
    """Return what any of these holds."""
    tags: dict[tuple[RepoName, Tag], str] = {}
    digests: dict[Digest, str] = {}
    immutable: list[Pattern] = []
    for one in lists:
        tags = {**one.tags, **tags}
        digests = {**one.digests, **digests}
        immutable += one.immutable
    return Held(tags, digests, tuple(dict.fromkeys(immutable)))


def _text(raw: bytes, what: str) -> str:
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise InvalidDocument(f"{what} is no text in UTF-8", hint=_HINT) from None


def _lines(text: str) -> Iterator[Use]:
    for number, line in enumerate(text.split("\n"), 1):
        plain = _COMMENT.sub("", line).strip()
        if plain:
            yield Use(f"line {number}", (plain,), alone=True)


class _Users(msgspec.Struct):
    """Who uses something: the first of them, and how many there are."""

    first: str
    count: int = 1

    def __str__(self) -> str:
        return self.first if self.count == 1 else f"{self.first} and {self.count - 1} more"


def _hold(uses: Iterable[Use], what: str) -> Held:
    tags: dict[tuple[RepoName, Tag], _Users] = {}
    digests: dict[Digest, _Users] = {}
    known: dict[str, Named | None] = {}
    wrong: list[str] = []
    for use in uses:
        found, strange = [], []
        for text in use.texts:
            named = _recall(text, known)
            if named is not None:
                found.append(named)
            elif not _is_short_id(text):
                strange.append(text)
        if strange or not any(one.sure or use.alone for one in found):
            wrong.append(f"{use.user}: {_why(strange[0] if strange else ' '.join(use.texts))}")
            continue
        for key in dict.fromkeys((r, one.tag) for one in found for r in one.repositories):
            if key[1] is not None:
                _add(tags, (key[0], key[1]), use.user)
        for digest in dict.fromkeys(one.digest for one in found if one.digest is not None):
            _add(digests, digest, use.user)
    if wrong:
        more = [f"and {len(wrong) - _MOST_TOLD} more"] if len(wrong) > _MOST_TOLD else []
        told = "\n".join([f"{what} is not understood", *wrong[:_MOST_TOLD], *more])
        raise InvalidDocument(told, hint=_HINT)
    return Held(
        {key: str(users) for key, users in tags.items()},
        {key: str(users) for key, users in digests.items()},
    )


def _recall(text: str, known: dict[str, Named | None]) -> Named | None:
    """Understand each text once: a thousand pods run the same few images."""
    if text not in known:
        known[text] = understand(text)
    return known[text]


def _add(users: dict[_K, _Users], key: _K, user: str) -> None:
    if key in users:
        users[key].count += 1
    else:
        users[key] = _Users(user)


def _is_short_id(text: str) -> bool:
    return _SHORT_ID.fullmatch(text) is not None


def _why(text: str) -> str:
    if not text:
        return "it names no image"
    if _ID.fullmatch(text) is not None or _is_short_id(text):
        return f"{text} is the ID of an image, and tells no repository; inspect it instead"
    return f"{printable(text[:200])!r} is no reference to an image"
