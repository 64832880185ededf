"""Manifests: GET, HEAD, PUT and DELETE (distribution specification, end-3, end-7 and end-9)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from typing import Final

from jettison.errors import InvalidManifest, PlanStale, StorageError, Unsettled
from jettison.model import mediatypes
from jettison.model.digest import ALGORITHMS, Digest
from jettison.model.manifest import Descriptor, Manifest, parse_manifest
from jettison.model.names import RepoName, Tag
from jettison.model.preconditions import ONLY_TAGS
from jettison.model.strict_json import check_unambiguous
from jettison.server.access import AccessAction
from jettison.server.api.context import Call, Context, parse_digest, parse_tag
from jettison.server.api.protection import refuse_listed_manifest
from jettison.server.api.sending import content_answer, open_answer
from jettison.server.api.settling import settled
from jettison.server.http.answers import (
    Answer,
    ApiError,
    Code,
    ErrorEntry,
    Header,
    problems_answer,
    shown,
)
from jettison.server.http.content_headers import manifest_headers, prepared_manifest
from jettison.storage.protocol import ManifestContent, Serving

__all__ = ["delete_manifest", "get_manifest", "put_manifest"]

MOST_TAGS: Final = 100
"""How many tags one PUT may set; the specification asks for ten at least."""

_PATIENCE: Final = 1.0
"""Seconds to wait for a collection to put back what it has set aside."""

_LARGE: Final = 64 * 1024
"""Bytes of a manifest that most do not have."""

_MOST_MISSING: Final = 100
"""How much of what is missing one answer names."""

_WAIT_SECONDS: Final = 0.05
_OCI: Final = "application/vnd.oci."


async def get_manifest(call: Call) -> Answer:
    """Send a manifest, or for HEAD its headers."""
    context = call.context
    by_digest = ":" in call.reference
    wanted = parse_digest(call.reference) if by_digest else _known_tag(call.reference)
    found = await call.ask(_find, context.serving, call.repository, wanted)
    if found is None:
        raise _unknown(call)
    digest, content = found
    if not isinstance(content, ManifestContent):
        answer, kind, size = await _large(call, digest, content)
    else:
        kind, size = content.media_type, len(content.raw)
        _check_acceptable(call, digest, kind)
        headers, encoded = prepared_manifest(digest, size, kind)
        answer = content_answer(call.request, digest, headers, content.raw, encoded)
    tag = "" if by_digest else call.reference
    if call.request.method == "GET":
        context.pulls.note(call.exchange, call.repository, digest, tag)
    context.events.manifest(call, "pull", digest, media_type=kind, size=size, tag=tag)
    return answer


def _find(
    serving: Serving, repository: RepoName, wanted: Digest | Tag
) -> tuple[Digest, ManifestContent | str | None] | None:
    """Return a manifest of the repository: its digest, and its content, or the type of a large one.

    None in place of a type that is not known yet.
    """
    if isinstance(wanted, Digest):
        digest = wanted if serving.has_revision(repository, wanted) else None
    else:
        digest = serving.resolve(repository, wanted)
    if digest is None:
        return None
    content = serving.manifest(digest)
    return digest, serving.large_type(digest) if content is None else content


async def _large(call: Call, digest: Digest, kind: str | None) -> tuple[Answer, str, int]:
    """Answer with a manifest of a size that few have: read and parsed once, then sent as a file."""
    context = call.context
    if kind is None:
        kind = await context.parse(call.client, context.serving.examine, digest)
    if kind is None:
        raise _unknown(call)
    _check_acceptable(call, digest, kind)
    opened = await call.ask(context.serving.open, digest)
    if opened is None:
        raise _unknown(call)
    size = opened.size
    headers = manifest_headers(digest, size, kind)
    return await open_answer(call, digest, headers, opened), kind, size


def _known_tag(text: str) -> Tag:
    """Return a tag to be looked up; what cannot be one does not exist, as in Distribution."""
    try:
        return parse_tag(text)
    except ApiError as error:
        raise ApiError(404, Code.MANIFEST_UNKNOWN, error.message) from None


def _check_acceptable(call: Call, digest: Digest, kind: str) -> None:
    """Raise 404 if the client does not say that it understands the manifest's type.

    As in Distribution, which never sends an OCI manifest to a client that does not ask for one; it
    would take it for something else.
    """
    accept = call.request.header(b"accept")
    if accept is None:
        if not kind.startswith(_OCI):
            return
    elif (
        kind in accept
        or any(
            one.partition(";")[0].strip() in {"*/*", "application/*"} for one in accept.split(",")
        )
        or kind not in mediatypes.MANIFESTS
    ):
        return
    message = f"the manifest is of type {kind}, which the Accept header does not list"
    raise ApiError(404, Code.MANIFEST_UNKNOWN, message, {"digest": str(digest)})


# Putting.


async def put_manifest(call: Call) -> Answer:
    """Store a manifest that is whole, and point tags to it.

    Everything it references is touched before it is linked, so no collection that goes on beside
    takes it (decision 0003). What is answered with 201 is on the disk.
    """
    context, request = call.context, call.request
    tags = [parse_tag(tag) for tag in request.query.get("tag", ())]
    expected = parse_digest(call.reference) if ":" in call.reference else None
    if expected is None:
        tags.insert(0, parse_tag(call.reference))
    tags = list(dict.fromkeys(tags))
    if len(tags) > MOST_TAGS:
        message = f"{len(tags)} tags in one request; {MOST_TAGS} are allowed"
        raise ApiError(414, Code.TAG_INVALID, message)
    async with _body(call) as raw:
        digest, manifest, missing = await _store(call, raw, expected, tags)
    if missing:
        return _incomplete(missing)
    tag = tags[0] if tags else ""
    context.events.manifest(
        call,
        "push",
        digest,
        media_type=manifest.media_type,
        size=len(raw),
        tag=tag,
        references=(*manifest.blobs, *manifest.children),
    )
    headers: list[Header] = [
        call.location(f"manifests/{digest}"),
        (b"docker-content-digest", digest.encode()),
    ]
    if request.query.get("tag"):
        headers += [(b"oci-tag", tag.encode()) for tag in tags]
    if manifest.subject is not None:
        headers.append((b"oci-subject", manifest.subject.encode()))
    return Answer(201, headers)


@contextlib.asynccontextmanager
async def _body(call: Call) -> AsyncIterator[bytes]:
    """Take in a manifest, and hold the room for its bytes until it is dealt with.

    A client that sends slowly is given up where others need the room.
    """
    limits = call.context.configuration.limits
    patience = asyncio.timeout(limits.body_timeout)
    with call.context.large_bodies.hold(patience) as held:
        try:
            async with patience:
                raw = await call.request.body(limits.manifest_bytes, held.grow)
        except TimeoutError:
            message = f"the manifest came in too slowly; it has {limits.body_timeout:g} s at most"
            close = [(b"connection", b"close")]
            raise ApiError(408, Code.UNAVAILABLE, message, headers=close) from None
        if raw is None:
            message = f"a manifest has at most {limits.manifest_bytes} bytes"
            # The connection stays: closed, it would be reset before the client has read this.
            raise ApiError(413, Code.SIZE_INVALID, message)
        held.settle()
        yield raw


def _digest_of(raw: bytes, expected: Digest | None) -> Digest:
    if expected is None:
        return Digest.of(raw)
    found = Digest.of(raw, expected.algorithm)
    if found != expected:
        message = "the manifest has another digest than the one in its URL"
        detail = {"expected": str(expected), "found": str(found)}
        raise ApiError(400, Code.DIGEST_INVALID, message, detail)
    return found


def _read(
    context: Context, raw: bytes, expected: Digest | None, content_type: str | None
) -> tuple[Digest, Manifest]:
    """Return its digest and what it says, or raise 400."""
    digest = _digest_of(raw, expected)
    manifest = _parse(raw, content_type)
    _check_urls(context, manifest)
    return digest, manifest


def _parse(raw: bytes, content_type: str | None) -> Manifest:
    """Return what the manifest says, or raise 400 ``MANIFEST_INVALID``."""
    declared = (content_type or "").partition(";")[0].strip()
    try:
        check_unambiguous(raw)
        manifest = parse_manifest(raw, declared)
    except InvalidManifest as error:
        raise ApiError(400, Code.MANIFEST_INVALID, error.message) from None
    kind = manifest.media_type
    if kind in mediatypes.SCHEMA1:
        message = "manifests of schema 1 are not taken any more; push it as schema 2 or OCI"
        raise ApiError(400, Code.MANIFEST_INVALID, message)
    if kind not in mediatypes.MANIFESTS:
        message = f"{shown(kind) or 'no type at all'} is not a type of manifest"
        raise ApiError(400, Code.MANIFEST_INVALID, message)
    if declared in mediatypes.MANIFESTS and declared != kind:
        message = f"Content-Type is {declared}, and the manifest's mediaType {kind}"
        raise ApiError(400, Code.MANIFEST_INVALID, message)
    return manifest


def _check_urls(context: Context, manifest: Manifest) -> None:
    """Raise 400 for a layer whose URLs ``validation.manifests.urls`` does not allow."""
    for layer in manifest.layers:
        for url in layer.urls:
            if not context.configuration.urls.permits(url):
                message = f"layer {layer.digest} has a URL that this registry does not allow"
                raise ApiError(400, Code.MANIFEST_INVALID, message, {"url": shown(url)})


async def _store(
    call: Call, raw: bytes, expected: Digest | None, tags: Sequence[Tag]
) -> tuple[Digest, Manifest, list[Digest]]:
    """Read and store it; return its digest, what it says, and what of that is not there.

    Where anything is missing it is not stored, unless sparse manifests are taken.
    """
    context = call.context
    content_type = call.request.header(b"content-type")
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    known: tuple[Digest, Manifest] | None = None
    run = call.brief
    if len(raw) > _LARGE:
        known = await context.parse(call.client, _read, context, raw, expected, content_type)
        run = call.search

    def store() -> tuple[Digest, Manifest, list[Digest]]:
        digest, manifest = known or _read(context, raw, expected, content_type)
        return digest, manifest, _put(call, digest, raw, manifest, tags)

    while True:
        async with context.writing(call.repository):
            digest, manifest, missing = await settled(lambda: run(store))
        if not missing or context.configuration.sparse_manifests:
            return digest, manifest, []
        if loop.time() > end or not await run(_any_aside, context, missing):
            return digest, manifest, missing
        # A collection has moved it out of sight for a moment, and may put it back.
        await asyncio.sleep(_WAIT_SECONDS)


def _put(
    call: Call, digest: Digest, raw: bytes, manifest: Manifest, tags: Sequence[Tag]
) -> list[Digest]:
    """Store a manifest unless something that it references is missing; return that."""
    context, repository = call.context, call.repository
    sparse = context.configuration.sparse_manifests
    if context.storage.features.local and not context.serving.has_manifests(repository):
        # No folder is made for a manifest that is refused.
        missing = _touch(context, repository, manifest)
        if missing and not sparse:
            return missing
    with context.storage.writing(repository, make=True):
        # Now that no DELETE can come in between.
        missing = _touch(context, repository, manifest)
        if missing and not sparse:
            return missing
        _check_tags(call, digest, tags)
        context.immutable.refuse_moving(repository, tags, digest)
        context.storage.put_manifest(repository, digest, raw, tags)
    return missing


def _check_tags(call: Call, digest: Digest, tags: Sequence[Tag]) -> None:
    """Raise 403 for a tag that points to another manifest, unless the client may overwrite tags.

    What a damaged tag pointed to nobody knows, so that is overwriting it too.
    """
    if call.grant.allows(call.repository, AccessAction.OVERWRITE):
        return
    for tag in tags:
        try:
            current = call.context.serving.tag(call.repository, tag)
        except Unsettled:
            raise  # it is read again
        except StorageError:
            pass
        else:
            if current in (None, digest):
                continue
        who = call.grant.user or "without a login one"
        message = (
            f"{who} may not {AccessAction.OVERWRITE} here, and the tag {tag} is another manifest's"
        )
        raise ApiError(403, Code.DENIED, message, {"tag": tag})


def _touch(context: Context, repository: RepoName, manifest: Manifest) -> list[Digest]:
    """Touch all that a manifest references; return what is not part of the repository.

    Where much is missing the manifest is refused anyway, and the rest is not looked at; a sparse
    one is taken as it is, so there all is touched.
    """
    serving = context.serving
    blobs = (
        blob.digest
        for blob in _distinct(manifest.blobs)
        if not serving.touch_layer(repository, blob.digest, blob.size) and blob.distributable
    )
    children = (
        child.digest
        for child in _distinct(manifest.children)
        if not serving.touch_revision(repository, child.digest)
    )
    most = None if context.configuration.sparse_manifests else _MOST_MISSING
    return list(islice(chain(blobs, children), most))


def _distinct(descriptors: Iterable[Descriptor]) -> Iterable[Descriptor]:
    return {descriptor.digest: descriptor for descriptor in descriptors}.values()


def _any_aside(context: Context, missing: Sequence[Digest]) -> bool:
    return any(map(context.serving.is_aside, missing))


def _incomplete(missing: Sequence[Digest]) -> Answer:
    message = "the repository does not have what the manifest references; push it first"
    problems = [
        ErrorEntry(Code.MANIFEST_BLOB_UNKNOWN, message, {"digest": str(digest)})
        for digest in missing
    ]
    return problems_answer(400, problems, [])


# Deleting.


async def delete_manifest(call: Call) -> Answer:
    """Untag, or remove a manifest by digest with all its tags.

    A client that says what it has seen (``If-Match`` for a tag, ``ONLY_TAGS`` for a manifest) is
    answered 412 if that is not so any more, and nothing is removed.
    """
    try:
        return await _delete_seen(call)
    except PlanStale as error:
        raise ApiError(412, Code.TAGS_CHANGED, error.message) from None


async def _delete_seen(call: Call) -> Answer:
    context, request = call.context, call.request
    context.require_deletion()
    if ":" in call.reference:
        digest = parse_digest(call.reference)
        named = request.header(ONLY_TAGS.lower().encode())
        only = None if named is None else frozenset(parse_tag(t) for t in named.split(",") if t)
        async with context.writing(call.repository):
            removed = await call.search(_delete, context, call.repository, digest, only)
        if not removed:
            raise _unknown(call)
        context.events.manifest(call, "delete", digest)
        return Answer(202, [])
    tag = _known_tag(call.reference)
    match = (request.header(b"if-match") or "*").strip()
    expected = None if match == "*" else parse_digest(match.strip('"'))
    async with context.writing(call.repository):
        removed = await call.run(_untag, context, call.repository, tag, expected)
    if not removed:
        raise _unknown(call)
    context.events.untagged(call, tag)
    return Answer(202, [])


def _delete(
    context: Context, repository: RepoName, digest: Digest, only: AbstractSet[Tag] | None
) -> bool:
    with context.storage.writing(repository):
        if not context.serving.has_revision(repository, digest):
            return False
        if context.configuration.protect_references:
            refuse_listed_manifest(context, repository, digest)
        tagged = context.tagged.of(repository)
        if context.immutable:
            context.immutable.refuse_deleting(digest, tagged.tags(digest.binary))
        return context.storage.delete_revision(repository, digest, only, tagged)


def _untag(context: Context, repository: RepoName, tag: Tag, expected: Digest | None) -> bool:
    with context.storage.writing(repository):
        context.immutable.refuse_removing(repository, tag)
        return context.storage.untag(repository, tag, expected)


def _unknown(call: Call) -> ApiError:
    known = call.reference.partition(":")[0] in ALGORITHMS
    detail = {"digest" if known else "tag": call.reference}
    message = f"{call.repository} has no such manifest"
    return ApiError(404, Code.MANIFEST_UNKNOWN, message, detail)
