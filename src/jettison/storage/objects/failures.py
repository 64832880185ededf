"""What a store's refusals mean, each as one line with the next step.

A store answers 404 for an object that is absent, and also for a bucket that is, or for a key that
it does not know. Only the code in the answer's body tells these apart, and what is not known to be
absent counts as unreadable: it protects.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from jettison.configuration.s3 import S3Bucket
from jettison.errors import StorageError, StorageFull, StorageUnavailable
from jettison.model.printable import printable

__all__ = ["StoreDenied", "StoreFailing", "StoreLost", "failure", "is_absent", "is_conflict"]

_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_ONE_OF_MANY: Final = re.compile(r'^\s+code: "([A-Za-z]{1,64})",$', re.MULTILINE)
"""How the client tells of an object that a bulk delete, answered with 200, did not remove."""
_STATUS: Final = re.compile(r"status code: (\d{3})\b")
_REGION: Final = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")
_BAD_KEY: Final = re.compile(r'Error parsing Path "(.{1,200}?)": ', re.DOTALL)
_CERTIFICATE: Final = re.compile(r"InvalidCertificate\(\s*([A-Za-z]{1,40})")
_CERTIFICATES: Final = {
    "Expired": "its time is over",
    "NotValidForName": "it is for another name",
    "NotValidYet": "its time has not begun",
    "UnknownIssuer": "its authority is not known here",
}
_PLAIN: Final = "InvalidContentType"
"""What the client says of a store that answers a TLS handshake with something else."""
_NOT_PLAIN: Final = re.compile(r"HTTP request (?:was sent )?to (?:an )?HTTPS")
"""What servers answer to a request without TLS where it is needed."""
_REDIRECTED: Final = "redirect without LOCATION"
"""What the client says of an answer that Amazon gives for a bucket of another region."""
_ABSENT: Final = frozenset({"NoSuchKey"})
_NO_ANSWER: Final = ("retries", "HTTP error", "error sending request")
_NO_CREDENTIALS: Final = (
    *("169.254.169.254", "169.254.170.2", "/latest/api/token", "/latest/meta-data"),
    *("security-credentials", "AssumeRoleWithWebIdentity"),
)
"""What an error names if the credentials of the environment were looked for, and not found."""


class StoreFailing(StorageError):
    """The store did not answer, or was overloaded; it may be the fault of one object."""


class StoreLost(StoreFailing, StorageUnavailable):
    """Several requests in a row failed so: the next one would, too."""


class StoreDenied(StorageError):
    """The credentials have no right to do something; others may be done."""


class _Meaning(NamedTuple):
    message: str
    hint: str
    kind: type[StorageError] = StorageError


Explain = Callable[[S3Bucket, str], _Meaning]


def is_absent(error: Exception) -> bool:
    """Whether an answer says that an object is not there, and nothing else."""
    return isinstance(error, FileNotFoundError) and _code(str(error)) in _ABSENT


def is_conflict(error: Exception) -> bool:
    """Whether a request met another one, so that it may well succeed a moment later (409)."""
    status = _STATUS.search(str(error))
    return status is not None and status[1] == "409"


def failure(bucket: S3Bucket, action: str, error: Exception) -> StorageError:
    """Return the error to raise: what could not be done, why, and the next step.

    ``action`` is the rest of "cannot …". No text of the store's is in it but its error code.
    """
    text = str(error)
    meaning = _meaning(bucket, text)
    return meaning.kind(f"cannot {action}: {meaning.message}", hint=meaning.hint)


def _code(text: str) -> str:
    found = _CODE.search(text)
    if found is not None:
        return found[1]
    named = _ONE_OF_MANY.findall(text)
    return named[-1] if named else ""  # a key is told before it


def _meaning(bucket: S3Bucket, text: str) -> _Meaning:
    code = _code(text)
    if code in _MEANINGS:
        return _MEANINGS[code](bucket, text)
    by_client = _before_an_answer(bucket, text)
    if by_client is not None:
        return by_client
    status = _STATUS.search(text)
    if status is None and code:
        return _Meaning(f"the store answers {code}", "Look at the store's own log, and try again.")
    if status is None:
        return _unreachable(bucket, text)
    if status[1] in _BY_STATUS:
        return _BY_STATUS[status[1]](bucket, text)
    said = f"{status[1]} {code}".strip()
    hint = "Look at the store's own log, and try again."
    kind = StoreFailing if status[1].startswith("5") else StorageError
    return _Meaning(f"the store answers {said}", hint, kind)


def _before_an_answer(bucket: S3Bucket, text: str) -> _Meaning | None:
    """Return what the client says itself, if the store had no say in it."""
    bad_key = _BAD_KEY.search(text)
    if bad_key is not None:
        message = f"the key {printable(bad_key[1])!r} has a part that is empty or cannot be printed"
        return _Meaning(message, "No registry makes such a key: remove that object, or move it.")
    if any(sign in text for sign in _NO_CREDENTIALS):
        return _no_credentials(bucket, text)
    if _REDIRECTED in text:
        return _region(bucket, text)
    return _encrypted(bucket, text)


def _encrypted(bucket: S3Bucket, text: str) -> _Meaning | None:
    """Return what is wrong with a connection that is encrypted, or is not, None if nothing is."""
    certificate = _CERTIFICATE.search(text)
    if certificate is not None:
        why = _CERTIFICATES.get(certificate[1].removesuffix("Context"), certificate[1])
        message = f"the certificate of {bucket.url} is not accepted: {why}"
        hint = (
            "Name a file with the certificate of its authority in AWS_CA_BUNDLE or SSL_CERT_FILE; "
            "storage.s3.skipverify: true accepts any."
        )
        return _Meaning(message, hint, StorageUnavailable)
    if _PLAIN in text:
        hint = "Begin storage.s3.regionendpoint with http://, or see that it names the port of TLS."
        return _Meaning(f"{bucket.url} does not speak TLS", hint, StorageUnavailable)
    if _NOT_PLAIN.search(text) is not None:
        hint = "Begin storage.s3.regionendpoint with https://, or set storage.s3.secure: true."
        return _Meaning(f"{bucket.url} wants TLS", hint, StorageUnavailable)
    return None


def _access_key(bucket: S3Bucket, _: str) -> _Meaning:
    where = "storage.s3.accesskey" if bucket.access_key else "the AWS_ACCESS_KEY_ID used here"
    message = "the store does not know the access key"
    return _Meaning(message, f"Look at {where}.", StorageUnavailable)


def _secret(bucket: S3Bucket, _: str) -> _Meaning:
    where = "storage.s3.secretkey" if bucket.access_key else "the AWS_SECRET_ACCESS_KEY used here"
    message = "the secret does not belong to the access key"
    return _Meaning(message, f"Look at {where}.", StorageUnavailable)


def _no_bucket(bucket: S3Bucket, _: str) -> _Meaning:
    message = f"there is no bucket {bucket.name} at {bucket.url}"
    hint = "Look at storage.s3.bucket, region and regionendpoint."
    return _Meaning(message, hint, StorageUnavailable)


def _region(bucket: S3Bucket, text: str) -> _Meaning:
    found = _REGION.search(text)
    other = f"it is {found[1]}" if found is not None else "it is another"
    message = f"the region of bucket {bucket.name} is not {bucket.region}: {other}"
    to = f"Set storage.s3.region: {found[1]}" if found is not None else "Look at storage.s3.region"
    return _Meaning(message, f"{to}.", StorageUnavailable)


def _denied(bucket: S3Bucket, _: str) -> _Meaning:
    hint = (
        f"Reading needs the rights s3:ListBucket on {bucket.name} and s3:GetObject on what is in "
        "it, collecting s3:PutObject and s3:DeleteObject too."
    )
    return _Meaning("the credentials have no right to do that", hint, StoreDenied)


def _throttled(_: S3Bucket, text: str) -> _Meaning:
    code = _code(text)
    said = f" ({code})" if code else ""
    message = f"the store asks for fewer requests{said}, and went on doing so"
    return _Meaning(message, "Try again when there is less to do.", StoreFailing)


def _clock(_: S3Bucket, __: str) -> _Meaning:
    message = "the clock of this machine and that of the store are too far apart"
    return _Meaning(message, "Set the clock of this machine.", StorageUnavailable)


def _expired(_: S3Bucket, __: str) -> _Meaning:
    message = "the credentials are not valid any more, or not yet: their token is refused"
    hint = "Renew AWS_SESSION_TOKEN and its keys, or the token in AWS_WEB_IDENTITY_TOKEN_FILE."
    return _Meaning(message, hint, StorageUnavailable)


def _full(_: S3Bucket, text: str) -> _Meaning:
    message = f"the store has no room for it ({_code(text) or 507})"
    hint = "Raise the quota of the bucket or make room in the store; then run the command again."
    return _Meaning(message, hint, StorageFull)


def _no_credentials(_: S3Bucket, __: str) -> _Meaning:
    message = "there are no credentials: none in the configuration, and none of the environment"
    hint = (
        "Set storage.s3.accesskey and secretkey, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
        "profiles in ~/.aws are not read."
    )
    return _Meaning(message, hint, StorageUnavailable)


def _unreachable(bucket: S3Bucket, text: str) -> _Meaning:
    if not any(sign in text for sign in _NO_ANSWER):
        return _Meaning("the store's answer is not understood", "Look at the store's own log.")
    hint = "See that the store runs, and look at storage.s3.regionendpoint, secure and skipverify."
    return _Meaning(f"{bucket.url} does not answer", hint, StoreFailing)


_BY_STATUS: Final[dict[str, Explain]] = {"403": _denied, "507": _full}
_MEANINGS: Final[dict[str, Explain]] = {
    "AccessDenied": _denied,
    "AllAccessDisabled": _denied,
    "AuthorizationHeaderMalformed": _region,
    "ExpiredToken": _expired,
    "ExpiredTokenException": _expired,
    "InsufficientCapacity": _full,
    "InsufficientStorage": _full,
    "InvalidAccessKeyId": _access_key,
    "InvalidBucketName": _no_bucket,
    "InvalidIdentityToken": _expired,
    "InvalidToken": _expired,
    "NoSuchBucket": _no_bucket,
    "PermanentRedirect": _region,
    "QuotaExceeded": _full,
    "RequestTimeTooSkewed": _clock,
    "ServiceUnavailable": _throttled,
    "SignatureDoesNotMatch": _secret,
    "SlowDown": _throttled,
    "SlowDownRead": _throttled,
    "SlowDownWrite": _throttled,
    "TokenRefreshRequired": _expired,
    "TooManyRequests": _throttled,
    "XAdminUserNotFound": _access_key,  # versitygw's
    "XMinioAdminBucketQuotaExceeded": _full,
    "XMinioStorageFull": _full,
}
