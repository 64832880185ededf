"""What the error codes of each store mean, and the next step.

An explanation names the key of the configuration that has to be looked at, and no secret.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from jettison.configuration.azure import AzureContainer
from jettison.configuration.buckets import StoreBucket
from jettison.configuration.gcs import GoogleBucket
from jettison.configuration.s3 import S3Bucket
from jettison.errors import StorageError, StorageFull, StorageUnavailable

__all__ = [
    "AZURE",
    "CODE",
    "GOOGLE",
    "S3",
    "Meaning",
    "Meanings",
    "StoreDenied",
    "StoreFailing",
    "StoreLost",
    "full",
]

CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
"""The error code in the body of a store's answer."""
_ROLE_ASKED: Final = "POST REDACTED"
"""How the client tells of the one request of S3 with a secret in its address."""
_REGION: Final = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")


class StoreFailing(StorageError):
    """The store did not answer, or was overloaded; it may be the fault of one object."""


class StoreLost(StoreFailing, StorageUnavailable):
    """Several requests in a row failed so: the next one would, too."""


class StoreDenied(StorageError):
    """The credentials have no right to do something; others may be done."""


class Meaning(NamedTuple):
    """Why something cannot be done, the next step, and what kind of error it is."""

    message: str
    hint: str
    kind: type[StorageError] = StorageError


Explain = Callable[[StoreBucket, str], Meaning]


class Meanings(NamedTuple):
    """What a store's answers mean: by their code, and by what else stands in an error.

    ``address`` is the key that has its address, ``any_certificate`` tells how any is accepted.
    """

    codes: Mapping[str, Explain]
    signs: tuple[tuple[str, Explain], ...]
    denied: Explain
    unreachable: Explain
    address: str
    any_certificate: str = ""


def _throttled(_: StoreBucket, text: str) -> Meaning:
    code = CODE.search(text)
    said = "" if code is None else f" ({code[1]})"
    message = f"the store asks for fewer requests{said}, and went on doing so"
    return Meaning(message, "Try again when there is less to do.", StoreFailing)


def _clock(_: StoreBucket, __: str) -> Meaning:
    message = "the clock of this machine and that of the store are too far apart"
    return Meaning(message, "Set the clock of this machine.", StorageUnavailable)


def full(_: StoreBucket, text: str) -> Meaning:
    """Tell that a store has no room."""
    code = CODE.search(text)
    message = f"the store has no room for it ({507 if code is None else code[1]})"
    hint = "Raise the quota of the bucket or make room in the store; then run the command again."
    return Meaning(message, hint, StorageFull)


# What is said of each store alike; the next step is its own.


def _no_right(hint: str) -> Meaning:
    return Meaning("the credentials have no right to do that", hint, StoreDenied)


def _not_taken(hint: str) -> Meaning:
    return Meaning("the store does not take the credentials", hint, StorageUnavailable)


def _nobody(hint: str) -> Meaning:
    message = "there are no credentials: none in the configuration, and none of the environment"
    return Meaning(message, hint, StorageUnavailable)


def _not_there(what: str, bucket: StoreBucket, hint: str) -> Meaning:
    return Meaning(f"there is no {what} {bucket.name} at {bucket.url}", hint, StorageUnavailable)


def _silent(bucket: StoreBucket, hint: str) -> Meaning:
    return Meaning(f"{bucket.url} does not answer", hint, StoreFailing)


# S3.


def _access_key(bucket: StoreBucket, _: str) -> Meaning:
    known = isinstance(bucket, S3Bucket) and bucket.access_key
    where = "storage.s3.accesskey" if known else "the AWS_ACCESS_KEY_ID used here"
    message = "the store does not know the access key"
    return Meaning(message, f"Look at {where}.", StorageUnavailable)


def _secret(bucket: StoreBucket, _: str) -> Meaning:
    known = isinstance(bucket, S3Bucket) and bucket.access_key
    where = "storage.s3.secretkey" if known else "the AWS_SECRET_ACCESS_KEY used here"
    message = "the secret does not belong to the access key"
    return Meaning(message, f"Look at {where}.", StorageUnavailable)


def _no_bucket(bucket: StoreBucket, _: str) -> Meaning:
    hint = "Look at storage.s3.bucket, region and regionendpoint."
    return _not_there("bucket", bucket, hint)


def _region(bucket: StoreBucket, text: str) -> Meaning:
    found = _REGION.search(text)
    other = f"it is {found[1]}" if found is not None else "it is another"
    here = bucket.region if isinstance(bucket, S3Bucket) else ""
    message = f"the region of bucket {bucket.name} is not {here}: {other}"
    to = f"Set storage.s3.region: {found[1]}" if found is not None else "Look at storage.s3.region"
    return Meaning(message, f"{to}.", StorageUnavailable)


def _role(_: StoreBucket, text: str) -> Meaning:
    """Tell that a web identity gets no role; the store had no say in it."""
    code = CODE.search(text)
    said = "does not answer" if code is None else f"answers {code[1]}"
    message = f"no role is given for the web identity: Amazon's security token service {said}"
    hint = (
        "Look at AWS_ROLE_ARN, at whom that role trusts, and at AWS_ENDPOINT_URL_STS if it is set: "
        "it begins with https://."
    )
    return Meaning(message, hint, StorageUnavailable)


def _denied(bucket: StoreBucket, text: str) -> Meaning:
    if _ROLE_ASKED in text:
        return _role(bucket, text)
    hint = (
        f"Reading needs the rights s3:ListBucket on {bucket.name} and s3:GetObject on what is in "
        "it, collecting s3:PutObject and s3:DeleteObject too."
    )
    return _no_right(hint)


def _no_credentials(_: StoreBucket, __: str) -> Meaning:
    hint = (
        "Set storage.s3.accesskey and secretkey, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
        "profiles in ~/.aws are not read."
    )
    return _nobody(hint)


def _expired(_: StoreBucket, __: str) -> Meaning:
    message = "the credentials are not valid any more, or not yet: their token is refused"
    hint = "Renew AWS_SESSION_TOKEN and its keys, or the token in AWS_WEB_IDENTITY_TOKEN_FILE."
    return Meaning(message, hint, StorageUnavailable)


def _unreachable(bucket: StoreBucket, _: str) -> Meaning:
    hint = "See that the store runs, and look at storage.s3.regionendpoint, secure and skipverify."
    return _silent(bucket, hint)


S3: Final = Meanings(
    {
        "AccessDenied": _denied,
        "AllAccessDisabled": _denied,
        "AuthorizationHeaderMalformed": _region,
        "ExpiredToken": _expired,
        "ExpiredTokenException": _expired,
        "InsufficientCapacity": full,
        "InsufficientStorage": full,
        "InvalidAccessKeyId": _access_key,
        "InvalidBucketName": _no_bucket,
        "InvalidIdentityToken": _expired,
        "InvalidToken": _expired,
        "NoSuchBucket": _no_bucket,
        "PermanentRedirect": _region,
        "QuotaExceeded": full,
        "RequestTimeTooSkewed": _clock,
        "ServiceUnavailable": _throttled,
        "SignatureDoesNotMatch": _secret,
        "SlowDown": _throttled,
        "SlowDownRead": _throttled,
        "SlowDownWrite": _throttled,
        "TokenRefreshRequired": _expired,
        "TooManyRequests": _throttled,
        "XAdminUserNotFound": _access_key,  # versitygw's
        "XMinioAdminBucketQuotaExceeded": full,
        "XMinioStorageFull": full,
    },
    (
        # What an error names if the credentials of the environment were looked for, and not found.
        ("169.254.169.254", _no_credentials),
        ("169.254.170.2", _no_credentials),
        ("/latest/api/token", _no_credentials),
        ("/latest/meta-data", _no_credentials),
        ("security-credentials", _no_credentials),
        (_ROLE_ASKED, _role),
        # What the client says of an answer that Amazon gives for a bucket of another region.
        ("redirect without LOCATION", _region),
    ),
    _denied,
    _unreachable,
    "storage.s3.regionendpoint",
    "; storage.s3.skipverify: true accepts any",
)


# Azure.


def _azure_key(bucket: StoreBucket, _: str) -> Meaning:
    if isinstance(bucket, AzureContainer) and bucket.account_key is not None:
        hint = "Look at storage.azure.accountname and accountkey, and at this machine's clock."
        return Meaning("the store does not take the account key", hint, StorageUnavailable)
    hint = "Look at storage.azure.credentials, and at what the environment has in AZURE_…."
    return _not_taken(hint)


def _azure_denied(bucket: StoreBucket, _: str) -> Meaning:
    hint = (
        f"Reading needs the role Storage Blob Data Reader on {bucket.name}, collecting and serving "
        "Storage Blob Data Contributor; a firewall of the account may be in the way, too."
    )
    return _no_right(hint)


def _no_container(bucket: StoreBucket, _: str) -> Meaning:
    hint = "Look at storage.azure.container, accountname and serviceurl."
    return _not_there("container", bucket, hint)


def _azure_unreachable(bucket: StoreBucket, _: str) -> Meaning:
    hint = "Look at storage.azure.accountname, realm, serviceurl and skipverify."
    return _silent(bucket, hint)


def _azure_nobody(_: StoreBucket, __: str) -> Meaning:
    hint = (
        "Set storage.azure.accountkey, or AZURE_TENANT_ID, AZURE_CLIENT_ID and "
        "AZURE_CLIENT_SECRET, or give this machine a managed identity."
    )
    return _nobody(hint)


def _kept(_: StoreBucket, __: str) -> Meaning:
    message = "the container, or the blob, is under a hold, a lease or a policy that keeps it"
    return Meaning(message, "End it at the store.")


AZURE: Final = Meanings(
    {
        "AccountIsDisabled": _azure_denied,
        "AuthenticationFailed": _azure_key,
        "AuthorizationFailure": _azure_key,
        "AuthorizationPermissionMismatch": _azure_denied,
        "AuthorizationProtocolMismatch": _azure_denied,
        "BlobImmutableDueToPolicy": _kept,
        "ContainerBeingDeleted": _no_container,
        "ContainerNotFound": _no_container,
        "InsufficientAccountPermissions": _azure_denied,
        "InvalidAuthenticationInfo": _azure_key,
        "KeyBasedAuthenticationNotPermitted": _azure_denied,
        "LeaseIdMissing": _kept,
        "OperationTimedOut": _throttled,
        "ServerBusy": _throttled,
    },
    (
        ("/metadata/identity", _azure_nobody),
        ("/oauth2/", _azure_key),
    ),
    _azure_denied,
    _azure_unreachable,
    "storage.azure.serviceurl",
    "; storage.azure.skipverify: true accepts any",
)


# Google.


def _google_key(bucket: StoreBucket, _: str) -> Meaning:
    if isinstance(bucket, GoogleBucket) and bucket.key is not None:
        hint = "Look at storage.gcs.keyfile or credentials: the key may have been withdrawn."
    else:
        hint = (
            "Set storage.gcs.keyfile, or GOOGLE_APPLICATION_CREDENTIALS to the path of a service "
            "account's key."
        )
    return _not_taken(hint)


def _google_file(bucket: StoreBucket, _: str) -> Meaning:
    keys = isinstance(bucket, GoogleBucket) and bucket.key is not None
    where = "storage.gcs.keyfile or credentials" if keys else "GOOGLE_APPLICATION_CREDENTIALS"
    hint = f"Look at {where}: it is a service account's key; an external_account is not read."
    return Meaning("the file with the credentials cannot be used", hint, StorageUnavailable)


def _google_denied(bucket: StoreBucket, _: str) -> Meaning:
    hint = (
        f"Reading needs the role Storage Object Viewer on {bucket.name}, collecting and serving "
        "Storage Object User."
    )
    return _no_right(hint)


def _no_google_bucket(bucket: StoreBucket, _: str) -> Meaning:
    return _not_there("bucket", bucket, "Look at storage.gcs.bucket.")


def _google_unreachable(bucket: StoreBucket, _: str) -> Meaning:
    hint = "See that this machine has a way to it."
    return _silent(bucket, hint)


GOOGLE: Final = Meanings(
    {
        "AccessDenied": _google_denied,
        "AuthenticationRequired": _google_key,
        "ExpiredToken": _google_key,
        "InvalidSecurity": _google_key,
        "NoSuchBucket": _no_google_bucket,
        "RequestTimeTooSkewed": _clock,
        "ServiceUnavailable": _throttled,
        "SignatureDoesNotMatch": _google_key,
        "SlowDown": _throttled,
        "TooManyRequests": _throttled,
    },
    (
        ("service account file", _google_file),
        ("CryptoProvider", _google_file),
        ("metadata.google.internal", _google_key),
        ("169.254.169.254", _google_key),
        ("/token", _google_key),
    ),
    _google_denied,
    _google_unreachable,
    "gcs_base_url in the key",
)
