"""What registries tell of their images' times, beside the distribution API.

Each product has an API of its own, and a module here, which names its documentation. Which of them
is asked follows from the product that was found, never from trying. What cannot be had is not
known, with the reason for people: nothing here raises. docs/retention-times.md has the table of
what each value becomes.
"""

import email.utils
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from jettison.client.response import Response
from jettison.client.times import azure, gitea, gitlab, google, harbor, hub, jettison, quay, zot
from jettison.client.times.asking import Api, CannotTell, Found, NotTold, moment
from jettison.client.transport import Transport
from jettison.errors import JettisonError, RegistryFailing, Unreachable
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.model.retention.evidence import Evidence, Moment

__all__ = ["Patience", "find_zot", "last_modified", "read_revisions", "read_times"]

_READERS: Final[dict[str, Callable[[Api, RepoName, Found], Awaitable[None]]]] = {
    "Azure Container Registry": azure.read,
    "Docker Hub": hub.read,
    "Forgejo": gitea.read,
    "GitLab": gitlab.read,
    "GitLab without database": gitlab.refuse,
    "Gitea": gitea.read,
    "Google": google.read,
    "Harbor": harbor.read,
    "Jettison": jettison.read,
    "Quay": quay.read,
    "zot": zot.read,
}

_TELL_PULLS: Final = frozenset({"Docker Hub", "Harbor", "zot"})

_LISTS: Final[dict[str, Callable[[Api, RepoName], Awaitable[list[Digest]]]]] = {
    "Azure Container Registry": azure.revisions,
    "Google": google.revisions,
    "Jettison": jettison.revisions,
}


def _line_of(table: Iterable[str], product: str) -> str:
    """Return the longest name in a table that ``product`` begins with, or ""."""
    names = [name for name in table if product.lower().startswith(name.lower())]
    return max(names, key=len, default="")


class Patience:
    """How often an API has failed in a row; it is given up after that, as each time takes long."""

    def __init__(self) -> None:
        self.failures = 0
        self.reason = ""

    @property
    def is_over(self) -> bool:
        """Whether to ask no more."""
        return self.failures >= _FAILURES

    def note(self, reason: str) -> None:
        """Note an answer, or (``reason``) that none came or that the server failed."""
        self.failures = self.failures + 1 if reason else 0
        self.reason = reason


_FAILURES: Final = 3


async def read_times(
    transport: Transport, product: str, repository: RepoName, patience: Patience | None = None
) -> Evidence | None:
    """Return the times that a product's API tells; None for one without such an API.

    What was read before an API failed counts, if each item stands for itself; ``unknown`` is then
    the reason for the rest.
    """
    name = _line_of(_READERS, product)
    if not name:
        return None
    patience = patience or Patience()
    if patience.is_over:
        return Evidence(unknown=patience.reason)
    found = Found()
    unknown = failure = ""
    try:
        await _READERS[name](Api(transport, name), repository, found)
    except CannotTell:
        return None
    except (RegistryFailing, Unreachable) as error:
        unknown = failure = error.message
    except (NotTold, JettisonError) as error:
        unknown = str(error)
    patience.note(failure)
    if found.whole is not None:
        return found.whole
    evidence = Evidence(found.tags, found.manifests, unknown=unknown)
    if name in _TELL_PULLS:
        unwatched = f"{name} does not say since when it counts them"
        evidence = msgspec.structs.replace(evidence, unwatched=unwatched)
    return evidence


async def read_revisions(
    transport: Transport, product: str, repository: RepoName
) -> list[Digest] | None:
    """Return all manifests of a repository, if a product's API surely lists them all."""
    name = _line_of(_LISTS, product)
    if not name:
        return None
    try:
        return await _LISTS[name](Api(transport, name), repository)
    except (NotTold, JettisonError):
        return None


def last_modified(response: Response, now: float) -> Moment | None:
    """Return when Artifactory last wrote a tag's manifest, from the answer with it.

    None for a time that is not before ``now`` (seconds since the epoch).

    https://jfrog.com/help, "Retrieve Artifact": ``Last-Modified`` is the file's. In the answers of
    other registries it may be a blob's, which came years ago with another repository.
    """
    if not response.headers.keys() & _ARTIFACTORY or response.foreign:
        return None
    try:
        found = email.utils.parsedate_to_datetime(response.headers.get("Last-Modified", ""))
        seconds = found.timestamp() if found.tzinfo is not None else 0.0
    except (ValueError, OverflowError):
        return None
    return moment(seconds, "Artifactory Last-Modified") if seconds < now else None


_ARTIFACTORY: Final = frozenset({"X-JFrog-Version", "X-Artifactory-Id"})


async def find_zot(transport: Transport) -> str:
    """Return "zot" for a registry that says so in the list of its extensions, or ""."""
    try:
        return "zot" if await zot.is_one(Api(transport, "zot")) else ""
    except (NotTold, JettisonError):
        return ""
