"""Requested and granted rights, and refusals.

The rights are Distribution's (pull, push, delete), and two of Jettison's: ``overwrite``, to point a
tag to another manifest, which takes the previous one from those who pull by tag; and ``admin``, to
see the whole catalog.
"""

import enum
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jettison.model.names import RepoName

__all__ = [
    "AccessAction",
    "Bounds",
    "Grant",
    "Guard",
    "TooManyLogins",
    "Unauthorized",
    "Wanted",
]


class AccessAction(enum.StrEnum):
    """An action on a repository; without a repository, on the registry as a whole."""

    PULL = "pull"
    PUSH = "push"
    OVERWRITE = "overwrite"
    DELETE = "delete"
    ADMIN = "admin"


class Wanted(NamedTuple):
    """The actions of a request.

    ``repository`` is None for the registry itself: no action is ``/v2/``, ``PULL`` is the visible
    part of the catalog, and ``ADMIN`` is everything else outside of a repository.
    """

    repository: RepoName | None
    actions: tuple[AccessAction, ...]


class Unauthorized(Exception):
    """No valid login, or a token that does not cover the wanted actions: 401.

    ``challenge`` is the value of ``WWW-Authenticate``, safe to encode as Latin-1. ``message`` is
    for the client and for the log; of the login it contains only the user's name.
    """

    def __init__(self, challenge: str, message: str) -> None:
        super().__init__(message)
        self.challenge = challenge
        self.message = message


class TooManyLogins(Unauthorized):
    """Too many logins wait for their check, or too many failed: 429.

    ``seconds`` is how long the client should wait.
    """

    def __init__(self, challenge: str, message: str, seconds: float = 1.0) -> None:
        super().__init__(challenge, message)
        self.seconds = max(1, math.ceil(seconds))


class Bounds(Protocol):
    """Bounds of one caller's rights: rules, or the scopes of a token."""

    def allow(self, repository: str | None, action: AccessAction) -> bool:
        """Whether ``action`` is within these bounds; None is the registry itself."""

    def show(self, repository: str) -> bool:
        """Whether the catalog may name ``repository``."""


class Grant:
    """The rights of one caller: those that all ``bounds`` allow; without bounds, all.

    ``user`` is "" without a login.
    """

    __slots__ = ("_bounds", "user")

    def __init__(self, user: str = "", bounds: Sequence[Bounds] = ()) -> None:
        self.user = user
        self._bounds = tuple(bounds)

    def __repr__(self) -> str:
        return f"Grant({self.user!r}, {list(self._bounds)!r})"

    def allows(self, repository: str | None, action: AccessAction) -> bool:
        """Whether the caller may do ``action`` to ``repository``.

        None is the registry itself: ``PULL`` reads the catalog, which then names only repositories
        that :meth:`sees` allows; ``ADMIN`` sees all of it.
        """
        return not self._bounds or all(b.allow(repository, action) for b in self._bounds)

    def sees(self, repository: str) -> bool:
        """Whether the catalog may name ``repository`` to the caller."""
        return not self._bounds or all(b.show(repository) for b in self._bounds)

    @property
    def sees_all(self) -> bool:
        """Whether the catalog may name every repository, so that none needs to be asked about."""
        return self.allows(None, AccessAction.ADMIN)


class Guard:
    """Decides who is let in. This one admits everyone, with the same grant."""

    def __init__(self, grant: Grant | None = None) -> None:
        self._grant = grant or Grant()

    async def admit(
        self,
        authorization: str | None,  # noqa: ARG002 - those that ask for a login read it
        wanted: Sequence[Wanted],  # noqa: ARG002 - same
        *,
        origin: str = "",  # noqa: ARG002 - same
        client: str = "",  # noqa: ARG002 - same
    ) -> Grant:
        """Return the grant of the sender of a request.

        ``authorization`` is that header's value as Latin-1, or None. ``origin`` is the address by
        which the client reached the server (``https://host:port``); only ``autoredirect`` needs
        it. ``client`` is the network address, by which clients take turns and wrong logins are
        counted.

        A good login does not mean that all of ``wanted`` is allowed: ask the grant. Leave a mount's
        source out of ``wanted``: a token without it can still upload.

        Raises :class:`Unauthorized` if a login would help: it is missing, not valid, or a token
        that does not cover ``wanted``.
        """
        return self._grant

    def close(self) -> None:
        """Release the guard's resources; it cannot be used afterwards."""
