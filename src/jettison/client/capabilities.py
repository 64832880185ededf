"""What a registry can do, found out without changing anything in it.

Every DELETE of the probe names a digest or tag of 256 random bits made for this one request, in
the repository in question: nothing in any registry can have it (design.md, "check").
"""

import secrets
from http import HTTPStatus
from typing import Final

import msgspec

from jettison.client.answers import describe, error_codes
from jettison.client.auth import Access, Challenge
from jettison.client.transport import LIST_LIMIT, Response, Transport
from jettison.errors import AccessDenied, DeletionDisabled, InvalidDocument, LoginRefused, Refused
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.reference import RepoName
from jettison.registry import Capabilities, Deletion

__all__ = ["DISABLED_HINT", "READ_ONLY_HINT", "probe", "refused_deletion"]

DISABLED_HINT: Final = (
    "Set storage.delete.enabled: true in the registry's configuration and restart it; "
    "jettison check --fix CONFIG sets it for you."
)
READ_ONLY_HINT: Final = (
    "Set storage.maintenance.readonly.enabled: false in the registry's configuration "
    "and restart it."
)

_ABSENT: Final = RepoName("jettison-probe/absent")


def refused_deletion(host: str, response: Response) -> DeletionDisabled | Refused:
    """Make the error for a DELETE that was answered with 405 (or 501)."""
    if "DENIED" in error_codes(response):
        message = f"{host} refuses to delete it: {describe(response)}"
        hint = "Remove what needs it first; or set jettison.protect_references: false there."
        return Refused(message, hint=hint)
    if _deletion(response) is Deletion.READ_ONLY:
        return DeletionDisabled(f"{host} is read-only", hint=READ_ONLY_HINT)
    if response.content_type == "text/html":
        message = f"something in front of {host} does not let DELETE through"
        return DeletionDisabled(message, hint="Look into the configuration of the proxy there.")
    return DeletionDisabled(f"deletion is not enabled on {host}", hint=DISABLED_HINT)


async def probe(
    transport: Transport, base: Response, repository: RepoName | None = None
) -> Capabilities:
    """Find out what can be done, in ``repository`` if one is given.

    ``base`` is the answer to ``GET /v2/``. Without a repository a name is used that no registry
    has; some then answer about the missing repository instead, which leaves things unknown.
    """
    where = repository or _ABSENT
    deletion = await _probe_deletion(transport, where)
    untagged = await _probe_untag(transport, where) if deletion is Deletion.ENABLED else None
    referrers = await _probe_referrers(transport, where)
    catalog, catalog_paged = await _probe_list(transport, "/v2/_catalog", Access(None, ("*",)))
    paging = catalog_paged
    if repository is not None:
        access = Access(repository, ("pull",))
        _, tags_paged = await _probe_list(transport, f"/v2/{repository}/tags/list", access)
        # A registry that pages only one of its two lists does not page.
        paging = False if False in {tags_paged, catalog_paged} else tags_paged or catalog_paged
    untag = _can_untag(untagged)
    has_referrers = _has_referrers(referrers)
    product = _product(base, transport.auth.challenge)
    if product is None:
        product = "OCI registry"
        # The mark alone is in every registry's answers; this text is the Go router's behind it.
        unrouted = referrers is not None and referrers.body.strip() == b"404 page not found"
        if unrouted and "Docker-Distribution-Api-Version" in base.headers:
            version = {None: "", False: " 2.x", True: " 3.x"}[untag]
            product = f"Distribution{version}"
    return Capabilities(
        deletion=deletion,
        product=product,
        login=transport.auth.kind,
        untag=untag,
        referrers=has_referrers,
        paging=paging,
        catalog=catalog,
    )


# -- deletion ----------------------------------------------------------------------------------


def _nobodys_digest() -> Digest:
    return Digest(f"sha256:{secrets.token_hex(32)}")


async def _probe_deletion(transport: Transport, repository: RepoName) -> Deletion:
    path = f"/v2/{repository}/manifests/{_nobodys_digest()}"
    try:
        response = await transport.request("DELETE", path, Access(repository, ("pull", "delete")))
    except (AccessDenied, LoginRefused):
        return Deletion.DENIED
    return _deletion(response)


def _deletion(response: Response) -> Deletion:
    if response.status == HTTPStatus.NOT_FOUND:
        return Deletion.ENABLED
    if response.status in {401, 403}:
        return Deletion.DENIED
    if response.status == HTTPStatus.NOT_IMPLEMENTED:
        return Deletion.DISABLED
    if response.status != HTTPStatus.METHOD_NOT_ALLOWED:
        return Deletion.UNKNOWN
    # Distribution that is read-only does not route DELETE at all: its router answers, in plain
    # text and with what it does route. Deletion that is off is answered by the API, in JSON.
    allowed = {method.strip() for method in response.headers.get("Allow", "").upper().split(",")}
    if "GET" in allowed and "PUT" not in allowed and response.content_type == "text/plain":
        return Deletion.READ_ONLY
    return Deletion.DISABLED


async def _probe_untag(transport: Transport, repository: RepoName) -> Response | None:
    path = f"/v2/{repository}/manifests/jettison-probe-{secrets.token_hex(32)}"
    try:
        return await transport.request("DELETE", path, Access(repository, ("pull", "delete")))
    except (AccessDenied, LoginRefused):
        return None


def _can_untag(response: Response | None) -> bool | None:
    if response is None:
        return None
    return {404: True, 400: False, 405: False}.get(response.status)


# -- reading -----------------------------------------------------------------------------------


async def _probe_referrers(transport: Transport, repository: RepoName) -> Response | None:
    path = f"/v2/{repository}/referrers/{_nobodys_digest()}"
    try:
        return await transport.request(
            "GET", path, Access(repository, ("pull",)), headers={"Accept": OCI_INDEX}
        )
    except (AccessDenied, LoginRefused):
        return None


def _has_referrers(response: Response | None) -> bool | None:
    if response is None:
        return None
    if response.status == HTTPStatus.OK:
        return response.body.lstrip()[:1] == b"{"
    # A registry with that API may still say 404 because of the repository.
    if response.status == HTTPStatus.NOT_FOUND and b"NAME_UNKNOWN" not in response.body:
        return False
    return None


class _Names(msgspec.Struct):
    repositories: list[str] | None = None
    tags: list[str] | None = None


async def _probe_list(
    transport: Transport, path: str, access: Access
) -> tuple[bool | None, bool | None]:
    """Return whether there is such a list, and whether it comes in pages when asked to."""
    try:
        response = await transport.request("GET", f"{path}?n=1", access, limit=LIST_LIMIT)
    except (AccessDenied, LoginRefused):
        return False, None
    if response.status != HTTPStatus.OK:
        return (False if response.status in {401, 403, 404, 405} else None), None
    try:
        names = strict_json.decode(response.body, _Names)
    except InvalidDocument:
        return None, None
    if "Link" in response.headers:
        return True, True
    # One name may be all there is; more than was asked for is an answer.
    count = len(names.repositories or names.tags or ())
    return True, (False if count > 1 else None)


# -- product -----------------------------------------------------------------------------------


def _product(base: Response, challenge: Challenge | None) -> str | None:
    """Guess from what the registry says of itself; None: it says nothing."""
    server = base.headers.get("Server", "")
    for name in ("Jettison", "Nexus", "Artifactory", "zot"):
        if server.lower().startswith(name.lower()):
            return server if "/" in server else name
    for header, name in (
        ("X-JFrog-Version", "Artifactory"),
        ("X-Artifactory-Id", "Artifactory"),
        ("GitLab-Container-Registry-Version", "GitLab"),
        ("X-Harbor-CSRF-Token", "Harbor"),
        ("X-GitHub-Request-Id", "GitHub"),
        ("X-MS-Correlation-Request-Id", "Azure Container Registry"),
    ):
        if header in base.headers:
            return name
    if challenge is None:
        return None
    realm = challenge.parameters.get("realm", "")
    service = challenge.parameters.get("service", "")
    for found, name in (
        (service == "harbor-registry", "Harbor"),
        (service == "ecr.amazonaws.com", "Amazon ECR"),
        (realm.endswith("/jwt/auth") and service == "container_registry", "GitLab"),
        (realm.endswith("/v2/auth"), "Quay"),
        (realm == "zot" or service == "zot", "zot"),
        ("Nexus" in realm, "Nexus"),
        ("Artifactory" in realm, "Artifactory"),
    ):
        if found:
            return name
    return None
