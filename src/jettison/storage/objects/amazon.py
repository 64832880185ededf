"""A client of Amazon S3, or of a store that speaks as it does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from jettison.configuration.s3 import S3Bucket
from jettison.storage.objects.clients import Client, client_options, named_in, retries
from jettison.storage.objects.signing import credentials_of, sign

if TYPE_CHECKING:
    from obstore.store import S3Config

__all__ = ["AmazonClient"]

_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_ROLE_ARN": "role_arn",
    "AWS_ROLE_SESSION_NAME": "role_session_name",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
    "AWS_ENDPOINT_URL_STS": "aws_endpoint_url_sts",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container_credentials_relative_uri",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container_credentials_full_uri",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "container_authorization_token_file",
    "AWS_METADATA_ENDPOINT": "metadata_endpoint",
}
"""Where Amazon's own programs look for credentials, too; instances are asked last."""


class AmazonClient(Client):
    """A client of Amazon S3."""

    tells_parts = True

    def __init__(
        self, settings: S3Bucket, environment: Mapping[str, str], besides: bytes | None
    ) -> None:
        from obstore.store import S3Store  # noqa: PLC0415 - see open_client

        self._settings = settings
        self._credentials = credentials_of(settings, environment)
        config: S3Config = {
            "bucket": settings.name,
            "region": settings.region,
            # Its own variables would count before what the configuration says.
            "endpoint": settings.url,
            "aws_endpoint_url_s3": settings.url,
            "virtual_hosted_style_request": settings.by_host,
        }
        if settings.access_key is not None and settings.secret_key is not None:
            config["access_key_id"] = settings.access_key
            config["secret_access_key"] = settings.secret_key
        else:
            config.update(cast("S3Config", named_in(environment, _CREDENTIALS)))
        if settings.encryption is not None:
            config["server_side_encryption"] = settings.encryption
        if settings.key_id is not None:
            config["sse_kms_key_id"] = settings.key_id
        options = client_options(settings, besides)
        store = S3Store(config=config, client_options=options, retry_config=retries())
        super().__init__(store, settings, besides)

    def signed(self, method: str, path: str | None, query: Mapping[str, str]) -> str | None:
        """Return a URL for a request with a query; None with credentials of the client's own."""
        if self._credentials is None:
            return None
        return sign(self._settings, self._credentials, method, path, query)
