"""What stores do otherwise than one another, each behind the same few methods.

Most is alike in all of them, and :class:`~jettison.storage.objects.bucket.Bucket` does it with the
store of obstore. Here is what is not: how a client is made, how a URL is signed, how an object is
put over another, how it is copied, and what tells one from its successor.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from jettison.configuration.azure import AzureContainer
from jettison.configuration.buckets import StoreBucket
from jettison.configuration.gcs import GoogleBucket
from jettison.configuration.s3 import S3Bucket
from jettison.errors import ConfigurationError
from jettison.storage.objects.failures import failure
from jettison.storage.objects.tls import authorities, tls_context

if TYPE_CHECKING:
    import ssl

    from obstore import HTTP_METHOD, ObjectMeta, PutMode
    from obstore.store import (
        AzureStore,
        ClientConfig,
        GCSStore,
        RetryConfig,
        S3Store,
    )

__all__ = ["Client", "client_options", "named_in", "open_client", "retries"]

LARGEST_COPY: Final = 5 * 1024**3
"""Bytes of the largest object that S3 copies in one request, and Google without waiting."""


class Client:
    """A client of a store that does all as S3 does; paths are whole keys, errors those of obstore.

    ``begins_anywhere``: a listing can begin behind a key, so that several go on at once.
    ``tells_versions``: an object's version tells that the bucket keeps what is removed.
    ``tells_parts``: it tells of uploads in parts that have not ended, which no listing shows.
    ``lists_finer``: a listing tells times finer than the store does of a single object.
    ``parts_over``: an object in parts can be stored over whatever may be there.
    ``largest_copy``: bytes of the largest object that the store copies by itself; None: any.
    """

    begins_anywhere = True
    tells_versions = True
    tells_parts = False
    lists_finer = False
    parts_over = True
    largest_copy: int | None = LARGEST_COPY

    def __init__(
        self,
        store: "AzureStore | GCSStore | S3Store",
        settings: StoreBucket,
        besides: bytes | None,
    ) -> None:
        self.store = store
        self._bucket = settings
        self._besides = besides

    def tls(self) -> "ssl.SSLContext":
        """Return how a request to a URL of :meth:`url` looks at the store's certificate."""
        return tls_context(self._bucket, self._besides)

    def url(self, method: "HTTP_METHOD", path: str, seconds: float) -> str:
        """Return a URL that lets whoever has it do one thing to an object, for so long."""
        import obstore  # noqa: PLC0415 - see open_client

        return obstore.sign(self.store, method, path, timedelta(seconds=seconds))

    def put(self, path: str, content: bytes) -> None:
        """Store an object in place of whatever may be there."""
        self.store.put(path, content, use_multipart=False)

    def copy(self, path: str, to: str) -> None:
        """Let the store copy an object, and return when it has."""
        self.store.copy(path, to)

    def just(
        self,
        path: str,  # noqa: ARG002 - the store compares
        e_tag: str,
        is_it: "Callable[[ObjectMeta], bool]",  # noqa: ARG002 - same
    ) -> "PutMode | None":
        """Return what lets something be put in place of just one object; None if it is another.

        It has that ETag, and ``is_it`` tells it from others.
        """
        return {"e_tag": f'"{e_tag}"'}

    def signed(self, method: str, path: str | None, query: Mapping[str, str]) -> str | None:  # noqa: ARG002 - few can
        """Return a URL for a request with a query, about an object or the bucket (None).

        None where that cannot be signed.
        """
        return None

    def misplaced(self) -> str | None:
        """Return why a tree cannot be reached that is in the bucket; None if there is none."""
        return None


def open_client(settings: StoreBucket, environment: Mapping[str, str]) -> Client:
    """Make the client for a bucket; ``environment`` has credentials if the settings have none.

    Raises :class:`~jettison.errors.StorageError` for credentials that cannot be ones.
    """
    # Imported here: whoever has no bucket need not have it, and it takes a while to load.
    try:
        import obstore.store  # noqa: F401, PLC0415 - see above
        from obstore.exceptions import BaseError  # noqa: PLC0415 - same
    except ImportError:
        hint = "Install it: pip install 'jettison[objects]'."
        raise ConfigurationError("a storage in a bucket needs obstore", hint=hint) from None
    besides = authorities(environment)
    try:
        return _open(settings, environment, besides)
    except BaseError as error:
        raise failure(settings, f"open {settings.location}", error) from None


def _open(settings: StoreBucket, environment: Mapping[str, str], besides: bytes | None) -> Client:
    if isinstance(settings, AzureContainer):
        from jettison.storage.objects.azure import AzureClient  # noqa: PLC0415 - few need it

        return AzureClient(settings, environment, besides)
    if isinstance(settings, GoogleBucket):
        from jettison.storage.objects.google import GoogleClient  # noqa: PLC0415 - few need it

        return GoogleClient(settings, environment, besides)
    if isinstance(settings, S3Bucket):
        from jettison.storage.objects.amazon import AmazonClient  # noqa: PLC0415 - as the others

        return AmazonClient(settings, environment, besides)
    raise TypeError(f"no store is known for {type(settings).__name__}")


def named_in(environment: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return what variables of the environment say, by the keys that they have for obstore."""
    return {key: environment[name] for name, key in keys.items() if environment.get(name)}


def client_options(settings: StoreBucket, besides: bytes | None) -> "ClientConfig":
    """Return how requests are made; ``besides`` are authorities that are accepted, too."""
    options: ClientConfig = {
        "allow_http": True,
        "allow_invalid_certificates": not settings.verify,
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(days=1),  # of a whole blob; what hangs ends by the two above
    }
    if besides is not None:
        options["root_certificate"] = besides
    if settings.user_agent is not None:
        options["user_agent"] = settings.user_agent
    return options


def retries() -> "RetryConfig":
    """Return how often a request is made again that the store could not answer."""
    return {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
