"""What a store's refusals mean, each as one line with the next step.

A store answers 404 for an object that is absent, and also for a bucket that is, or for a key that
it does not know. Only the code in the answer's body tells these apart, and what is not known to be
absent counts as unreadable: it protects.
"""

import re
from typing import Final

from jettison.configuration.azure import AzureContainer
from jettison.configuration.buckets import StoreBucket
from jettison.configuration.gcs import GoogleBucket
from jettison.errors import StorageError, StorageUnavailable
from jettison.model.printable import printable
from jettison.storage.objects.meanings import (
    AZURE,
    CODE,
    GOOGLE,
    S3,
    Meaning,
    Meanings,
    StoreDenied,
    StoreFailing,
    StoreLost,
    full,
)

__all__ = ["StoreDenied", "StoreFailing", "StoreLost", "failure", "is_absent", "is_conflict"]

_ONE_OF_MANY: Final = re.compile(r'^\s+code: "([A-Za-z]{1,64})",$', re.MULTILINE)
"""How the client tells of an object that a bulk delete, answered with 200, did not remove."""
_STATUS: Final = re.compile(r"status code: (\d{3})\b")
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
_NO_ANSWER: Final = ("retries", "HTTP error", "error sending request")
_ABSENT: Final = frozenset({"NoSuchKey", "BlobNotFound"})
_ABSENT_IN_BATCH: Final = 'reason: "The specified blob does not exist'
"""What Azure says in place of a code where many blobs are removed at once."""


def is_absent(error: Exception) -> bool:
    """Whether an answer says that an object is not there, and nothing else."""
    if not isinstance(error, FileNotFoundError):
        return False
    return _code(str(error)) in _ABSENT or _ABSENT_IN_BATCH in str(error)


def is_conflict(error: Exception) -> bool:
    """Whether a request met another one, so that it may well succeed a moment later (409)."""
    status = _STATUS.search(str(error))
    return status is not None and status[1] == "409"


def failure(bucket: StoreBucket, action: str, error: Exception) -> StorageError:
    """Return the error to raise: what could not be done, why, and the next step.

    ``action`` is the rest of "cannot …". No text of the store's is in it but its error code.
    """
    text = str(error)
    meaning = _meaning(bucket, text)
    return meaning.kind(f"cannot {action}: {meaning.message}", hint=meaning.hint)


def _code(text: str) -> str:
    found = CODE.search(text)
    if found is not None:
        return found[1]
    named = _ONE_OF_MANY.findall(text)
    return named[-1] if named else ""  # a key is told before it


def _meanings(bucket: StoreBucket) -> Meanings:
    if isinstance(bucket, AzureContainer):
        return AZURE
    return GOOGLE if isinstance(bucket, GoogleBucket) else S3


def _meaning(bucket: StoreBucket, text: str) -> Meaning:
    code, known = _code(text), _meanings(bucket)
    if code in known.codes:
        return known.codes[code](bucket, text)
    by_client = _before_an_answer(bucket, known, text)
    if by_client is not None:
        return by_client
    status = _STATUS.search(text)
    if status is None and code:
        return Meaning(f"the store answers {code}", "Look at the store's own log, and try again.")
    if status is None:
        if any(sign in text for sign in _NO_ANSWER):
            return known.unreachable(bucket, text)
        return Meaning("the store's answer is not understood", "Look at the store's own log.")
    by_status = {"403": known.denied, "507": full}
    if status[1] in by_status:
        return by_status[status[1]](bucket, text)
    said = f"{status[1]} {code}".strip()
    hint = "Look at the store's own log, and try again."
    kind = StoreFailing if status[1].startswith("5") else StorageError
    return Meaning(f"the store answers {said}", hint, kind)


def _before_an_answer(bucket: StoreBucket, known: Meanings, text: str) -> Meaning | None:
    """Return what the client says itself, if the store had no say in it."""
    bad_key = _BAD_KEY.search(text)
    if bad_key is not None:
        message = f"the key {printable(bad_key[1])!r} has a part that no key of a registry has"
        hint = "Remove that object, or move it: a part is empty, . or .., or cannot be printed."
        return Meaning(message, hint)
    for sign, explain in known.signs:
        if sign in text:
            return explain(bucket, text)
    return _encrypted(bucket, known, text)


def _encrypted(bucket: StoreBucket, known: Meanings, text: str) -> Meaning | None:
    """Return what is wrong with a connection that is encrypted, or is not, None if nothing is."""
    certificate = _CERTIFICATE.search(text)
    if certificate is not None:
        why = _CERTIFICATES.get(certificate[1].removesuffix("Context"), certificate[1])
        message = f"the certificate of {bucket.url} is not accepted: {why}"
        hint = "Name a file with the certificate of its authority in AWS_CA_BUNDLE or SSL_CERT_FILE"
        return Meaning(message, f"{hint}{known.any_certificate}.", StorageUnavailable)
    if _PLAIN in text:
        hint = f"Begin {known.address} with http://, or see that it names the port of TLS."
        return Meaning(f"{bucket.url} does not speak TLS", hint, StorageUnavailable)
    if _NOT_PLAIN.search(text) is not None:
        hint = f"Begin {known.address} with https://."
        return Meaning(f"{bucket.url} wants TLS", hint, StorageUnavailable)
    return None
