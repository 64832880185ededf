"""Signing requests to a store anew, for a relay that changes them on their way (SigV4)."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from tests.support.buckets import SECRET_KEY

_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=[0-9a-f]+"
)


def with_query(raw_path: str, **more: str) -> str:
    """Return a path with a query that is in the form in which it is signed, and has these too."""
    path, _, query = raw_path.partition("?")
    pairs = (one.partition("=")[::2] for one in query.split("&") if one)
    found = {unquote(name): unquote(value) for name, value in pairs} | more
    quoted = sorted((quote(name, safe="-_.~"), quote(v, safe="-_.~")) for name, v in found.items())
    return f"{path}?{'&'.join(f'{name}={value}' for name, value in quoted)}"


def signed_again(method: str, raw_path: str, headers: Mapping[str, str]) -> str:
    """Return the header `Authorization` for a request that was signed and then changed.

    Its query has to be as :func:`with_query` makes it.
    """
    found = _SIGNED.fullmatch(headers["Authorization"])
    assert found is not None, headers["Authorization"]
    key, scope, names = found.groups()
    path, _, query = raw_path.partition("?")
    lower = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    lines = [f"{name}:{lower[name]}" for name in names.split(";")]
    content = lower["x-amz-content-sha256"]
    canonical = "\n".join([method, path, query, *lines, "", names, content])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", lower["x-amz-date"], scope, digest])
    secret = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
