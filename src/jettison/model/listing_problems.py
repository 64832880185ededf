"""Items that a listing could not read: each is marked and counted, and the listing goes on."""

import enum
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from jettison.errors import (
    AccessDenied,
    InvalidManifest,
    JettisonError,
    LoginRefused,
    RegistryFailing,
    StorageError,
)

__all__ = ["ListingProblem", "ProblemCode", "summarized"]

_SHOWN: Final = 3


class ProblemCode(enum.StrEnum):
    """Why an item could not be read; programs filter by it."""

    INVALID_NAME = "invalid-name"
    """The registry lists a name that the specification does not allow; no request can name it."""
    DENIED = "denied"
    """This login may not read it."""
    FAILING = "failing"
    """The registry answers with an error of its own, too late, or breaks off."""
    UNEXPECTED = "unexpected"
    """The answer cannot be understood."""
    DAMAGED = "damaged"
    """A file of the storage, or the bytes of a manifest, are not what they should be."""
    CUT_SHORT = "cut-short"
    """The list is incomplete: a later page could not be read, or the list has no end."""


_CODES: Final = {
    (AccessDenied, LoginRefused): ProblemCode.DENIED,
    (RegistryFailing,): ProblemCode.FAILING,
    (InvalidManifest, StorageError): ProblemCode.DAMAGED,
}


class ListingProblem(msgspec.Struct, frozen=True):
    """An item of a listing that could not be read, and why.

    ``subject`` is its name as the registry gives it (a tag, a repository), or the list itself.
    """

    code: ProblemCode
    subject: str
    message: str

    @classmethod
    def of(cls, subject: str, error: JettisonError) -> Self:
        """Return the problem that ``error`` causes in a listing."""
        for kinds, code in _CODES.items():
            if isinstance(error, kinds):
                return cls(code, subject, error.message)
        return cls(ProblemCode.UNEXPECTED, subject, error.message)

    @property
    def lacking(self) -> bool:
        """Whether a listing without the item is incomplete (exit code 3).

        A name that no request can carry is all that there is to know about its item.
        """
        return self.code is not ProblemCode.INVALID_NAME

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


def summarized(problems: Sequence[ListingProblem], what: str) -> str:
    """Return one sentence about all of them: ``2 tags could not be read (1.0: …; 2.0: …)``."""
    shown = "; ".join(map(str, problems[:_SHOWN]))
    more = len(problems) - _SHOWN
    if len(problems) != 1:
        what = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    rest = f"; and {more:,} more" if more > 0 else ""
    return f"{len(problems):,} {what} could not be read ({shown}{rest})"
