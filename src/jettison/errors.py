"""Every error that Jettison raises on purpose, in one tree.

::

    JettisonError                    exit 1   something went wrong; the message says what to do
    ├── UsageError                   exit 2   the request itself is malformed
    │   ├── InvalidDigest
    │   ├── InvalidName              a repository name or a tag
    │   ├── InvalidReference
    │   ├── InvalidPolicy            a retention policy, or a part of one
    │   └── ConfigurationError       a configuration that is malformed or contradictory
    ├── InvalidManifest              exit 1   bytes that are not a manifest
    ├── InvalidDocument              exit 1   JSON that is malformed, too deep or too long
    ├── NotFoundError                exit 1   a repository, tag, digest or run that does not exist
    ├── StorageError                 exit 1   the storage tree cannot be read or written
    │   ├── NotSynced                         the disk refused what was written; it is lost
    │   ├── StorageFull                       a store has no room for what was to be written
    │   ├── StorageUnavailable                all of it is out of reach, the rest is as well
    │   └── Unsettled                         it is being written just now; ask again
    │       └── SweptMeanwhile                a collection took it; do all of it again
    ├── JournalError                 exit 1   a journal entry that this version cannot read
    │   ├── JournalInBucket                   one that a configuration is needed for
    │   ├── JournalNewer                      one that a newer version wrote
    │   └── JournalUnread                     one that the storage did not give
    ├── PartlyDone                   exit 3   some of the work was done, some was not
    ├── Refused                      exit 4   needs an option that allows it
    │   └── Declined                          the person at the terminal said no
    ├── VerificationFailed           exit 5   what was promised is not what is there
    ├── RegistryError                exit 1   the registry does not do what was requested
    │   ├── Unreachable              exit 10  no connection, or only a gateway's errors
    │   ├── NotARegistry             exit 10  something else answers there
    │   ├── LoginRefused             exit 10
    │   ├── AccessDenied             exit 10  the login is accepted, and lacks the right
    │   │   └── ReadOnly             exit 11
    │   └── UnexpectedResponse       exit 1
    │       ├── RegistryFailing      exit 1   this request fails there, others do not
    │       └── DeletionRefused      exit 1   it does not delete this one item
    ├── DeletionDisabled             exit 11
    ├── NotQuiescent                 exit 12
    │   └── Locked
    ├── PlanStale                    exit 13  the registry changed since the plan was made
    │   └── TagsAppeared             other tags are on a manifest that was to go
    └── Interrupted                  exit 130 Ctrl-C, as every shell tells it
        └── Cancelled                         by the program that called Jettison

A class owns its exit code, so that no command decides one (decision 0014).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from jettison.model.printable import printable

__all__ = [
    "AccessDenied",
    "ConfigurationError",
    "Declined",
    "DeletionDisabled",
    "DeletionRefused",
    "Interrupted",
    "InvalidDigest",
    "InvalidDocument",
    "InvalidManifest",
    "InvalidName",
    "InvalidPolicy",
    "InvalidReference",
    "JettisonError",
    "JournalError",
    "JournalInBucket",
    "JournalNewer",
    "JournalUnread",
    "Locked",
    "LoginRefused",
    "NotARegistry",
    "NotFoundError",
    "NotQuiescent",
    "NotSynced",
    "PartlyDone",
    "PlanStale",
    "ReadOnly",
    "Refused",
    "RegistryError",
    "RegistryFailing",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "SweptMeanwhile",
    "TagsAppeared",
    "UnexpectedResponse",
    "Unreachable",
    "Unsettled",
    "UsageError",
    "VerificationFailed",
    "storage_error",
    "storage_errors",
]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class JettisonError(Exception):
    """An error that has no better name; all others derive from it.

    ``message`` says what happened and to which reference; ``hint`` says the next step, in the
    imperative, and is printed on a line of its own. ``again`` are the options with which the same
    command does it all the same; the command line prints it with them, ready to be pasted.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str | None = None, again: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.again = again

    def __str__(self) -> str:
        return self.message


class UsageError(JettisonError):
    """The request is malformed; nothing was touched."""

    exit_code = 2


def underline(text: str, start: int, end: int) -> str:
    """Return ``text`` with a second line of carets below ``text[start:end]``."""
    before, marked, after = map(printable, (text[:start], text[start:end], text[end:]))
    return f"{before}{marked}{after}\n{' ' * len(before)}{'^' * max(1, len(marked))}"


class InvalidDigest(UsageError):
    """A text that is not ``algorithm:hex`` of a registered algorithm."""


class InvalidName(UsageError):
    """A text that the distribution specification does not allow as repository name or tag."""


class InvalidReference(UsageError):
    """A text that is not ``host[:port]/path[:tag][@digest]``; the message underlines where."""


class InvalidPolicy(UsageError):
    """A retention policy, or a part of one, that cannot be used."""


class ConfigurationError(UsageError):
    """A configuration file that is no Distribution configuration, or a driver we do not know."""


class InvalidManifest(JettisonError):
    """Bytes that claim to be a manifest and are none, or do not have the digest they should."""


class InvalidDocument(JettisonError):
    """Bytes from outside that are not the JSON they should be, or deeper or longer than is read."""


class NotFoundError(JettisonError):
    """A name that does not exist; ``hint`` carries the nearest names that do."""


class StorageError(JettisonError):
    """A storage that is absent, unreadable or not writable."""

    @property
    def is_full(self) -> bool:
        """Whether there was no room for what was to be written."""
        return isinstance(self.__cause__, OSError) and self.__cause__.errno in _FULL


class NotSynced(StorageError):
    """The disk refused what was written to a file; that it takes it later proves nothing."""


class StorageFull(StorageError):
    """A store has no room for what was to be written, or allows no more."""

    @property
    def is_full(self) -> bool:
        """Whether there was no room: yes."""
        return True


class StorageUnavailable(StorageError):
    """The whole storage is out of reach, or refuses who asks: the next look fails like this one.

    So it is nothing that one item has, and ends what goes through many of them.
    """


class Unsettled(StorageError):
    """Something that another program may be writing at this moment: a moment later it is whole."""


class SweptMeanwhile(Unsettled):
    """A collection has taken what a push relies on.

    Its writer has waited until that was over, so it is to be done again at once.
    """


class JournalError(JettisonError):
    """A journal entry that is damaged or was written by a newer version."""


class JournalInBucket(JournalError):
    """A run whose journal is in a bucket, which is reached with its registry's configuration."""


class JournalNewer(JournalError):
    """A journal entry that a newer version of Jettison wrote; what it did is not known here."""


class JournalUnread(JournalError):
    """A journal entry that could not be read: what it says is not known."""


class PartlyDone(JettisonError):
    """Some of the work was done; the journal and the message say which."""

    exit_code = 3


class Refused(JettisonError):
    """Something that Jettison does only when told to, with the flag that tells it in ``hint``."""

    exit_code = 4


class Declined(Refused):
    """The person asked said no; nothing was changed."""


class VerificationFailed(JettisonError):
    """What is there is not what was promised; each difference is in the message."""

    exit_code = 5


class RegistryError(JettisonError):
    """The registry does not do what was asked."""


class Unreachable(RegistryError):
    """No connection, no name, a TLS failure, or nothing but a gateway's errors."""

    exit_code = 10


class NotARegistry(RegistryError):
    """Something answers, but it does not speak the distribution API."""

    exit_code = 10


class LoginRefused(RegistryError):
    """A login is needed and absent, or was given and not accepted (401)."""

    exit_code = 10


class AccessDenied(RegistryError):
    """The login is accepted, and not allowed to do this (403)."""

    exit_code = 10


class ReadOnly(AccessDenied):
    """The registry takes no push from anybody, as long as it is read-only."""

    exit_code = 11


class UnexpectedResponse(RegistryError):
    """A status or body that the specification does not allow here."""


class RegistryFailing(UnexpectedResponse):
    """An answer 5xx or 429, none in time, or one that breaks off, until patience ran out.

    The registry as such can be reached: other requests are answered. ``status`` is that of the
    answer, None if there was none.
    """

    status: int | None = None


class DeletionRefused(UnexpectedResponse):
    """The registry will not delete this one thing; the message has its own words.

    ``codes`` are the error codes of its answer.
    """

    def __init__(self, message: str, *, codes: frozenset[str], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.codes = codes


class DeletionDisabled(JettisonError):
    """The registry answers 405 to DELETE: deletion is off, or it is read-only."""

    exit_code = 11


class NotQuiescent(JettisonError):
    """The storage is in use, and what was asked is only safe when it is not."""

    exit_code = 12


class Locked(NotQuiescent):
    """Another collection or repair holds the storage's lock."""


class PlanStale(JettisonError):
    """Something that the plan saw has moved since; nothing further was done."""

    exit_code = 13


class TagsAppeared(PlanStale):
    """A manifest was not deleted, because tags that were not to go point to it."""


class Interrupted(JettisonError):
    """Ctrl-C; `jettison runs` tells what a removal, an undo or a repair has done."""

    exit_code = 130


class Cancelled(Interrupted):
    """The program that called has cancelled; what was done is in the journal."""


@contextmanager
def storage_errors(action: str, path: object) -> Iterator[None]:
    """Turn an OSError into a :class:`StorageError` that names the path."""
    try:
        yield
    except OSError as error:
        raise storage_error(action, path, error) from error


def storage_error(action: str, path: object, error: OSError) -> StorageError:
    """Return what :func:`storage_errors` raises, where a ``with`` block costs too much."""
    hint = None
    if isinstance(error, PermissionError):
        hint = "Run it as the user that the registry runs as, or as root."
    elif error.errno in _FULL:
        hint = "The disk is full. gc needs no room, nor do rm and prune with --reclaim."
    elif error.errno == errno.EROFS:
        hint = "The storage is mounted read-only."
    elif error.errno == errno.EXDEV:
        hint = "The root directory has to be one file system: mount it as a whole."
    reason = error.strerror or str(error)
    return StorageError(f"cannot {action} {path}: {reason}", hint=hint)
