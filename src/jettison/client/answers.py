"""The content of a registry's answers: lists, errors, digests and links."""

import errno
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from jettison.client.failures import tidy
from jettison.errors import InvalidDigest, InvalidDocument, InvalidManifest
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.manifest import parse_manifest

if TYPE_CHECKING:
    from jettison.client.response import Response

__all__ = [
    "content_digest",
    "describe",
    "error_codes",
    "is_disk_full",
    "is_page",
    "next_link",
    "read_index",
    "read_repositories",
    "read_tags",
    "type_inside",
]


class _Repositories(msgspec.Struct):
    repositories: list[str | None] | None = None


class _Tags(msgspec.Struct):
    tags: list[str | None] | None = None


class _Entry(msgspec.Struct):
    digest: str


class _Index(msgspec.Struct):
    manifests: list[_Entry] | None = None


def read_repositories(body: bytes) -> list[str]:
    """Read a page of the catalog."""
    return [name or "" for name in strict_json.decode(body, _Repositories).repositories or ()]


def read_tags(body: bytes) -> list[str]:
    """Read a page of tags; Distribution 2.x writes null if all tags were deleted."""
    return [name or "" for name in strict_json.decode(body, _Tags).tags or ()]


def read_index(body: bytes) -> list[str]:
    """Read a page of referrers: the digests in an index."""
    return [entry.digest for entry in strict_json.decode(body, _Index).manifests or []]


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""
    detail: object = None


class _Problems(msgspec.Struct):
    """An error body by the specification, or as token servers and gateways write it."""

    errors: list[_Problem] | None = None
    error: object = None
    error_description: object = None
    details: object = None
    message: object = None


def error_codes(response: "Response") -> set[str]:
    """Return the codes in an error body (distribution specification, "Error Codes")."""
    return {problem.code for problem in _problems(response).errors or () if problem.code}


def is_disk_full(response: "Response") -> bool:
    """Whether an error body is Distribution's about a storage without room."""
    return any(_has_no_room(problem.detail) for problem in _problems(response).errors or ())


def _has_no_room(detail: object) -> bool:
    if not isinstance(detail, dict):
        return False
    return detail.get("Err") == errno.ENOSPC or any(map(_has_no_room, detail.values()))


def _problems(response: "Response") -> _Problems:
    if response.status < HTTPStatus.BAD_REQUEST or response.body.lstrip()[:1] != b"{":
        return _Problems()
    try:
        return strict_json.decode(response.body, _Problems)
    except InvalidDocument:
        return _Problems()


def _said(response: "Response") -> str:
    """Return the text of an error's body, if it is meant for people."""
    found = _problems(response)
    parts = []
    for problem in found.errors or ():
        detail = problem.detail if isinstance(problem.detail, str) else ""
        parts.append(": ".join(filter(None, (problem.code, problem.message, detail))))
    others = (found.error, found.error_description, found.message, found.details)
    parts += [text for text in others if isinstance(text, str) and text]
    if not parts and response.content_type == "text/plain":
        text = response.body[:_SAID].decode("utf-8", "replace").strip()
        # Go's own texts say nothing that the status does not.
        parts += [text] if text and text.lower() not in _EMPTY_WORDS else []
    return tidy("; ".join(part.rstrip(". ") for part in parts if part))


_SAID: Final = 500
_EMPTY_WORDS: Final = frozenset({"404 page not found", "method not allowed"})


def describe(response: "Response") -> str:
    """Describe an answer: its status, and the registry's own words."""
    said = _said(response) if response.status >= HTTPStatus.BAD_REQUEST else ""
    if said:
        return f"{response.status}, {said}"
    return f"{response.status} and a web page" if is_page(response) else str(response.status)


def is_page(response: "Response") -> bool:
    """Whether the answer is a page for a browser."""
    return response.content_type in {"text/html", "application/xhtml+xml"}


def content_digest(response: "Response") -> Digest | None:
    """Return ``Docker-Content-Digest``, or None if it is absent or malformed."""
    try:
        return Digest(response.headers.get("Docker-Content-Digest", ""))
    except InvalidDigest:
        return None


def type_inside(raw: bytes) -> str | None:
    """Return the ``mediaType`` inside a manifest, for an answer without a type."""
    try:
        found = parse_manifest(raw).media_type
    except InvalidManifest:
        return None
    return found or None


_LINK: Final = re.compile(r"<([^<>]*)>((?:\s*;\s*[^\s;,=]+(?:\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]*))?)*)")
_REL: Final = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]*))", re.IGNORECASE)


def next_link(values: Iterable[str]) -> str | None:
    """Return the target of ``rel="next"`` in ``Link`` headers (RFC 8288)."""
    for value in values:
        for link in _LINK.finditer(value):
            for quoted, bare in _REL.findall(link[2]):
                if "next" in (quoted or bare).lower().split():
                    return link[1]
    return None
