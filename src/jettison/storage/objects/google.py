"""What Google Cloud Storage does otherwise than S3, in its XML interface, which obstore speaks.

- What an object is told from its successor by is its generation, and each has one, whether the
  bucket keeps versions or not. So nothing tells that a bucket keeps what is removed.
- A URL is signed with the key of a service account. Without one in the configuration, Google signs
  it, one request each, where the credentials may ask for that.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from jettison.configuration.gcs import GoogleBucket
from jettison.storage.objects.clients import Client, client_options, named_in, retries

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from obstore.store import GCSConfig

__all__ = ["GoogleClient"]

_ENVIRONMENT: Final = {"GOOGLE_APPLICATION_CREDENTIALS": "application_credentials"}
"""Where Google's own programs look for credentials, too; instances are asked last."""


class GoogleClient(Client):
    """A client of Google's store."""

    tells_versions = False
    lists_finer = True

    def __init__(
        self, settings: GoogleBucket, environment: Mapping[str, str], besides: bytes | None
    ) -> None:
        from obstore.store import GCSStore  # noqa: PLC0415 - see open_client

        config: GCSConfig = {"bucket": settings.name, "base_url": settings.url}
        if settings.key is not None:
            config["service_account_key"] = settings.key
        else:
            config.update(cast("GCSConfig", named_in(environment, _ENVIRONMENT)))
        options = client_options(settings, besides)
        store = GCSStore(config=config, client_options=options, retry_config=retries())
        super().__init__(store, settings, besides)

    def just(
        self,
        path: str,
        e_tag: str,  # noqa: ARG002 - two objects may have the same
        is_it: "Callable[[ObjectMeta], bool]",
    ) -> "PutMode | None":
        """Return the generation of an object that was looked at; None if it is another by now."""
        try:
            found = self.store.head(path)
        except FileNotFoundError:
            return None
        return {"version": found["version"] or ""} if is_it(found) else None
