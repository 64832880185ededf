"""Signed URLs for what the client has no words for: requests about versions.

It is Amazon's signature of version 4 in a query, of a request whose body is not signed:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from jettison.configuration.s3 import S3Bucket

__all__ = ["Credentials", "credentials_of", "sign"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SECONDS: Final = 60
_UNRESERVED: Final = "-_.~"


class Credentials(NamedTuple):
    """What requests are signed with; ``token`` belongs to those that end by themselves."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


def credentials_of(settings: S3Bucket, environment: Mapping[str, str]) -> Credentials | None:
    """Return those of the configuration, else of the environment's variables, else None."""
    if settings.access_key is not None and settings.secret_key is not None:
        return Credentials(settings.access_key, settings.secret_key)
    access = environment.get("AWS_ACCESS_KEY_ID")
    secret = environment.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    return Credentials(access, secret, environment.get("AWS_SESSION_TOKEN") or None)


def sign(
    settings: S3Bucket,
    credentials: Credentials,
    method: str,
    key: str | None,
    query: Mapping[str, str],
    *,
    now: datetime | None = None,
    seconds: int = _SECONDS,
) -> str:
    """Return a URL that lets whoever has it make one request within so many seconds.

    ``key`` has all parts; None: the request is about the bucket.
    """
    url = urlsplit(settings.url)
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{settings.region}/s3/aws4_request"
    parameters = dict(query) | {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token is not None:
        parameters["X-Amz-Security-Token"] = credentials.token
    path = quote(_path(settings, url.path, key), safe=f"/{_UNRESERVED}")
    asked = "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for name, value in sorted(parameters.items())
    )
    request = "\n".join([method, path, asked, f"host:{url.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    text = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    signing_key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, text.encode(), "sha256").hex()
    return f"{url.scheme}://{url.netloc}{path}?{asked}&X-Amz-Signature={signature}"


def _path(settings: S3Bucket, above: str, key: str | None) -> str:
    parts = [above.strip("/"), "" if settings.by_host else settings.name, key or ""]
    return "/" + "/".join(part for part in parts if part)
