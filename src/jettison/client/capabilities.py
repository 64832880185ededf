"""What a registry can do, found out without changing anything in it.

Every DELETE of the probe names a digest or tag of 256 random bits, made for this one request, in
the repository in question. No content in any registry can have it.
"""

import secrets
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from jettison.client.answers import describe, error_codes, is_page
from jettison.client.auth import Access, Challenge
from jettison.client.hints import deletion_hint
from jettison.client.transport import LIST_LIMIT, MANIFEST_LIMIT, Response, Transport
from jettison.errors import (
    AccessDenied,
    DeletionDisabled,
    InvalidDocument,
    LoginRefused,
    Refused,
    RegistryError,
    RegistryFailing,
    UnexpectedResponse,
)
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.names import RepoName
from jettison.model.preconditions import HEEDED
from jettison.registry import Capabilities, Deletion

__all__ = ["probe", "product_of", "refused_deletion"]

_MARK: Final = "Docker-Distribution-Api-Version"
_ABSENT: Final = RepoName("jettison-probe/absent")


def refused_deletion(host: str, response: Response, product: str) -> DeletionDisabled | Refused:
    """Make the error for a DELETE that was answered with 405 (or 501)."""
    said = describe(response)
    codes = error_codes(response)
    if "DENIED" in codes:
        message = f"{host} refuses to delete it: {said}"
        hint = "Remove what needs it first; or set jettison.protect_references: false there."
        return Refused(message, hint=hint)
    if _deletion(response) is Deletion.READ_ONLY:
        hint = deletion_hint(product, read_only=True)
        return DeletionDisabled(f"{host} is read-only: it answers {said}", hint=hint)
    if is_page(response):
        message = f"something in front of {host} does not let DELETE through: {said}"
        return DeletionDisabled(message, hint="Check the configuration of that proxy.")
    if codes - {"UNSUPPORTED"}:
        # It deletes other things: this one is locked, or under a rule of its own.
        message = f"{host} refuses to delete it: {said}"
        hint = "Check whether the image is locked there, its tag immutable, or kept by a rule."
        return Refused(message, hint=hint)
    message = f"deletion is not enabled on {host}: it answers {said}"
    return DeletionDisabled(message, hint=deletion_hint(product))


class _Probed(NamedTuple):
    """The outcome of a request: an answer, or an error."""

    response: Response | None = None
    error: RegistryError | None = None

    @property
    def said(self) -> str:
        if self.response is not None:
            return describe(self.response)
        return "" if self.error is None else self.error.message


async def _ask(
    transport: Transport,
    method: str,
    path: str,
    access: Access,
    *,
    accept: str | None = None,
    limit: int = MANIFEST_LIMIT,
) -> _Probed:
    """Send one request of the probe; an error or a refusal is an outcome too."""
    headers = {} if accept is None else {"Accept": accept}
    try:
        return _Probed(await transport.request(method, path, access, headers=headers, limit=limit))
    except (AccessDenied, LoginRefused, UnexpectedResponse) as error:
        return _Probed(error=error)


async def probe(
    transport: Transport, base: Response, repository: RepoName | None = None
) -> Capabilities:
    """Find out what the registry can do, in ``repository`` if one is given.

    ``base`` is the answer to ``GET /v2/``. Without a repository the probe uses a name that no
    registry has. Some then answer about the missing repository, which leaves the question open.
    """
    where = repository or _ABSENT
    login = transport.auth.kind
    logged_in = transport.auth.given
    manifests = f"/v2/{where}/manifests"
    writing = Access(where, ("pull", "delete"))
    deleted = await _ask(transport, "DELETE", f"{manifests}/{_random_digest()}", writing)
    deletion = _judged(deleted, given=transport.auth.given)
    untagged = _Probed()
    if deletion in {Deletion.ENABLED, Deletion.UNKNOWN} and deleted.error is None:
        tag = f"jettison-probe-{secrets.token_hex(32)}"
        untagged = await _ask(transport, "DELETE", f"{manifests}/{tag}", writing)
    referrers = await _ask(
        transport,
        "GET",
        f"/v2/{where}/referrers/{_random_digest()}",
        Access(where, ("pull",)),
        accept=OCI_INDEX,
    )
    catalog, catalog_paged, catalog_said = await _probe_list(
        transport, "/v2/_catalog", Access(None, ("*",))
    )
    paging = catalog_paged
    if repository is not None:
        access = Access(repository, ("pull",))
        _, tags_paged, _ = await _probe_list(transport, f"/v2/{repository}/tags/list", access)
        # A registry that pages only one of its two lists does not page.
        paging = False if False in {tags_paged, catalog_paged} else tags_paged or catalog_paged
    untag = _can_untag(untagged.response)
    product = product_of(base, transport.auth.challenge, deleted.response)
    if product is None:
        product = "OCI registry"
        told = referrers.response.body if referrers.response is not None else b""
        # The mark alone is in every registry's answers; this text is the Go router's behind it.
        if b"We don't understand your method + url" in told:
            product = "go-containerregistry"
        elif (
            told.strip() == b"404 page not found"
            and "Docker-Distribution-Api-Version" in base.headers
        ):
            version = {None: "", False: " 2.x", True: " 3.x"}[untag]
            product = f"Distribution{version}"
    return Capabilities(
        deletion=deletion,
        product=product,
        login=login,
        untag=untag,
        referrers=_has_referrers(referrers.response),
        paging=paging,
        catalog=catalog,
        catalog_said=catalog_said,
        logged_in=logged_in,
        said=deleted.said,
        conditional=HEEDED in base.headers,
    )


# -- deletion ----------------------------------------------------------------------------------


def _random_digest() -> Digest:
    return Digest(f"sha256:{secrets.token_hex(32)}")


def _judged(probed: _Probed, *, given: bool) -> Deletion:
    """Interpret the answer to a DELETE of something that cannot exist."""
    if isinstance(probed.error, AccessDenied | LoginRefused):
        return Deletion.DENIED if given else Deletion.NEEDS_LOGIN
    if probed.response is None:
        return Deletion.UNKNOWN
    return _deletion(probed.response)


def _deletion(response: Response) -> Deletion:
    if response.status == HTTPStatus.NOT_FOUND:
        return Deletion.ENABLED
    if is_page(response) and response.status in {401, 403, 405}:
        return Deletion.BLOCKED
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


def _can_untag(response: Response | None) -> bool | None:
    if response is None:
        return None
    if response.status == HTTPStatus.BAD_REQUEST and _UNKNOWN & error_codes(response):
        return None  # it speaks of the repository, not of the request
    return {202: True, 404: True, 400: False, 405: False}.get(response.status)


_UNKNOWN: Final = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN"})


# -- reading -----------------------------------------------------------------------------------


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
) -> tuple[bool | None, bool | None, str]:
    """Return whether the list exists, whether it has pages, and the reason if it does not."""
    probed = await _ask(transport, "GET", f"{path}?n=1", access, limit=LIST_LIMIT)
    response = probed.response
    if response is None:
        failing = isinstance(probed.error, RegistryFailing)
        return (None if failing else False), None, probed.said
    if response.status != HTTPStatus.OK:
        there = False if response.status in {401, 403, 404, 405} else None
        return there, None, probed.said
    try:
        names = strict_json.decode(response.body, _Names)
    except InvalidDocument:
        return None, None, "the answer is not the expected list"
    if "Link" in response.headers:
        return True, True, ""
    # One name may be all there is; more than was asked for is an answer.
    count = len(names.repositories or names.tags or ())
    return True, (False if count > 1 else None), ""


# -- product -----------------------------------------------------------------------------------


_SERVERS: Final = ("Jettison", "Nexus", "Artifactory", "zot")

_AZURE: Final = "Azure Container Registry"

_HEADERS: Final = {
    "X-JFrog-Version": "Artifactory",
    "X-Artifactory-Id": "Artifactory",
    "GitLab-Container-Registry-Version": "GitLab",
    "X-Harbor-CSRF-Token": "Harbor",
    "X-GitHub-Request-Id": "GitHub",
    "X-MS-Correlation-Request-Id": _AZURE,
}
"""Headers that only one product sends."""


def product_of(
    base: Response | None, challenge: Challenge | None, other: Response | None = None
) -> str | None:
    """Guess the product from the registry's headers; None if they do not tell.

    ``base`` is its answer to ``GET /v2/``; without one, only the login tells. ``other`` is another
    of its answers, for headers that the first lacks.
    """
    if base is None:
        return None if challenge is None else _product_by_login(challenge)
    server = base.headers.get("Server", "")
    for name in _SERVERS:
        if server.lower().startswith(name.lower()):
            return server if "/" in server else name
    # GitLab's documentation, "Verify which metadata backend is active".
    database = base.headers.get("GitLab-Container-Registry-Database-Enabled")
    if database is not None:
        return f"GitLab {'with' if database.lower() == 'true' else 'without'} database"
    for header, name in _HEADERS.items():
        if any(header in answer.headers for answer in (base, other) if answer is not None):
            return name
    return None if challenge is None else _product_by_login(challenge)


def _product_by_login(challenge: Challenge) -> str | None:
    """Guess the product from the realm and service of its tokens."""
    realm = challenge.parameters.get("realm", "")
    service = challenge.parameters.get("service", "")
    for found, name in (
        (service == "harbor-registry", "Harbor"),
        (service == "ecr.amazonaws.com", "Amazon ECR"),
        (service == "registry.docker.io", "Docker Hub"),
        (service == "ghcr.io", "GitHub"),
        (service.endswith((".pkg.dev", "gcr.io")), "Google"),
        (service.endswith((".azurecr.io", ".azurecr.us", ".azurecr.cn")), _AZURE),
        (realm.endswith("/jwt/auth") and service == "container_registry", "GitLab"),
        # routers/api/packages/container in Gitea's sources; older versions name no service.
        (realm.endswith("/v2/token") and service in {"", "container_registry"}, "Gitea"),
        (realm.endswith("/v2/auth"), "Quay"),
        (realm == "zot" or service == "zot", "zot"),
        ("Nexus" in realm, "Nexus"),
        ("Artifactory" in realm, "Artifactory"),
    ):
        if found:
            return name
    return None
