"""The descriptor cache of a registry in Redis, and how to make it forget removed blobs.

Distribution 2.x and 3.x keep three kinds of keys, and none of them expires::

    blobs::<digest>                        hash: digest, size, mediatype; manifests too
    repository::<name>::blobs              set: the digests of layers and configs in <name>
    repository::<name>::blobs::<digest>    hash: mediatype

The registry answers for a blob in a repository if all three exist. Without the first alone nothing
is stale until the blob is pushed to another repository, which is why the other two go as well.
Forgetting too much costs the registry one look at its storage.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jettison.errors import InvalidName, StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName

if TYPE_CHECKING:
    from redis import Redis

    from jettison.configuration.settings import RedisServer

__all__ = ["forget"]

BATCH: Final = 1000
"""The digests in one round trip, and the members requested at once."""
SETS: Final = 50
"""The repositories read in one round trip."""
CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
HINT: Final = "Empty that Redis database, or restart the registry with an empty one."

Item = TypeVar("Item")


def forget(
    server: "RedisServer", blobs: Iterable[Digest], links: Iterable[tuple[str, Digest]]
) -> int:
    """Remove the entries of removed blobs and layer links from Redis; return their number.

    ``blobs`` are gone from the storage: they are forgotten in every repository. ``links`` are pairs
    of a repository and the digest of a layer or config that is no longer linked there. An entry is
    a key, or a member of a repository's set. Other keys are not touched, and missing ones are no
    error, so that repeating it is safe.

    Raises :class:`~jettison.errors.StorageError` if Redis cannot be reached, refuses the login or
    the commands, or is a cluster or behind sentinels; some entries may have gone by then.
    """
    if server.deployment != "single":
        message = f"Redis at {server.address} is a {server.deployment}, which is not supported yet"
        raise StorageError(message, hint=HINT)
    # Imported here: it is of use to few collections, and takes some 10 MB.
    from redis import RedisError  # noqa: PLC0415 - see above

    removed = set(blobs)
    try:
        with _connect(server) as client:
            gone = _remove_keys(client, (f"blobs::{digest}" for digest in removed))
            return gone + _remove_entries(client, chain(links, _entries(client, removed)))
    except (RedisError, OSError) as error:
        raise _failure(server, error) from None


def _connect(server: "RedisServer") -> "Redis":
    from redis import Redis  # noqa: PLC0415 - as in `forget`
    from redis.backoff import ExponentialBackoff  # noqa: PLC0415 - same
    from redis.retry import Retry  # noqa: PLC0415 - same

    where: dict[str, Any] = {"host": server.host, "port": server.port}
    if server.host.startswith("/"):
        where = {"unix_socket_path": server.host}
    elif server.tls is not None:
        authorities = [Path(path).read_text(encoding="ascii") for path in server.tls.authorities]
        where |= {
            "ssl": True,
            "ssl_certfile": server.tls.certificate,
            "ssl_keyfile": server.tls.key,
            "ssl_ca_data": "\n".join(authorities) or None,
        }
    return Redis(
        **where,
        db=server.db,
        username=server.username if server.password else None,
        password=server.password,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), 2),
        # The older protocol, so that an older Redis will do.
        protocol=2,
        decode_responses=True,
        # A key that is not UTF-8 is none of Distribution's, and must not end this.
        encoding_errors="replace",
    )


def _entries(client: "Redis", removed: set[Digest]) -> Iterator[tuple[str, Digest]]:
    """Find which repositories remember which of ``removed``, as pairs for `_remove_entries`."""
    if not removed:
        return
    for keys in _batches(client.scan_iter("repository::*::blobs", count=BATCH), SETS):
        cursors = {name: 0 for key in keys if (name := _repository(key)) is not None}
        while cursors:
            pipeline = client.pipeline(transaction=False)
            for name, cursor in cursors.items():
                pipeline.sscan(_set_of(name), cursor, count=BATCH)
            following: dict[str, int] = {}
            answers = _execute(pipeline)
            for name, answer in zip(cursors, answers, strict=True):
                if answer is None:
                    continue
                cursor, members = answer
                yield from ((name, Digest(member)) for member in members if member in removed)
                if cursor:
                    following[name] = cursor
            cursors = following


def _remove_entries(client: "Redis", pairs: Iterable[tuple[str, Digest]]) -> int:
    gone = 0
    for batch in _batches(pairs, BATCH):
        digests: dict[str, list[Digest]] = defaultdict(list)
        for repository, digest in batch:
            digests[repository].append(digest)
        pipeline = client.pipeline(transaction=False)
        for repository, group in digests.items():
            pipeline.srem(_set_of(repository), *group)
            pipeline.delete(*(f"{_set_of(repository)}::{digest}" for digest in group))
        gone += sum(answer or 0 for answer in _execute(pipeline))
    return gone


def _remove_keys(client: "Redis", keys: Iterable[str]) -> int:
    return sum(int(client.delete(*batch)) for batch in _batches(keys, BATCH))


def _execute(pipeline: Any) -> list[Any]:  # noqa: ANN401 - it answers what each command answers
    """Return the answers; None for a key of another type than Distribution's."""
    from redis import ResponseError  # noqa: PLC0415 - as in `forget`

    answers = []
    for answer in pipeline.execute(raise_on_error=False):
        foreign = isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")
        if isinstance(answer, Exception) and not foreign:
            raise answer
        answers.append(None if foreign else answer)
    return answers


def _set_of(repository: str) -> str:
    return f"repository::{repository}::blobs"


def _repository(key: str) -> str | None:
    """Return the name in the key of a repository's set; None for a key of another program."""
    try:
        return RepoName(key.removeprefix("repository::").removesuffix("::blobs"))
    except InvalidName:
        return None


def _failure(server: "RedisServer", error: Exception) -> StorageError:
    from redis import AuthenticationError, ResponseError  # noqa: PLC0415 - as in `forget`

    reason = str(error).partition("\n")[0].rstrip(".")
    if server.password:
        reason = reason.replace(server.password, "…")
    if isinstance(error, AuthenticationError):
        what = "refuses the login"
    elif isinstance(error, ResponseError):
        what = "refuses to forget removed blobs"
    else:
        what = "cannot be reached"
    return StorageError(f"Redis at {server.address} {what}: {reason}", hint=HINT)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
