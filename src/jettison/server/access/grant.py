"""What is asked for, what may be done, and the ways to say no.

The rights are Distribution's (pull, push, delete), and two of ours: ``overwrite``, to point a tag
to another manifest, which takes the one before from whoever pulls by tag; and ``admin``, to see the
whole catalog, and what the server says about itself.
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
    """What may be done to a repository; with no repository, to the registry as a whole."""

    PULL = "pull"
    PUSH = "push"
    OVERWRITE = "overwrite"
    DELETE = "delete"
    ADMIN = "admin"


class Wanted(NamedTuple):
    """What a request is about to do.

    ``repository`` None is the registry itself: no action at all is ``/v2/``, ``PULL`` is the
    catalog, as far as one may see it, and ``ADMIN`` is whatever else is not of one repository.
    """

    repository: RepoName | None
    actions: tuple[AccessAction, ...]


class Unauthorized(Exception):
    """No valid login, or a token that does not cover what is wanted: 401.

    ``challenge`` is the value of ``WWW-Authenticate``, safe to encode as Latin-1. ``message`` is
    for the client and for the log; it holds no part of the login but the user's name.
    """

    def __init__(self, challenge: str, message: str) -> None:
        super().__init__(message)
        self.challenge = challenge
        self.message = message


class TooManyLogins(Unauthorized):
    """More logins wait for their check than the server will hold, or too many failed: 429.

    ``seconds`` is how long the client had better wait.
    """

    def __init__(self, challenge: str, message: str, seconds: float = 1.0) -> None:
        super().__init__(challenge, message)
        self.seconds = max(1, math.ceil(seconds))


class Bounds(Protocol):
    """Something that bounds what one caller may do: rules, or the scopes of a token."""

    def allow(self, repository: str | None, action: AccessAction) -> bool:
        """Whether ``action`` is within these bounds; None is the registry itself."""

    def show(self, repository: str) -> bool:
        """Whether the catalog may name ``repository``."""


class Grant:
    """What one caller may do: what each of the ``bounds`` allows. Without any, everything.

    ``user`` is "" for nobody in particular.
    """

    __slots__ = ("_bounds", "user")

    def __init__(self, user: str = "", bounds: Sequence[Bounds] = ()) -> None:
        self.user = user
        self._bounds = tuple(bounds)

    def __repr__(self) -> str:
        return f"Grant({self.user!r}, {list(self._bounds)!r})"

    def allows(self, repository: str | None, action: AccessAction) -> bool:
        """Whether the caller may do ``action`` to ``repository``.

        None is the registry itself: ``PULL`` is to read the catalog, which then names only what
        :meth:`sees` says, and ``ADMIN`` is to see all of it.
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
    """Decides who comes in. This one admits everybody, with one and the same grant."""

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
        """Return what the sender of a request may do.

        ``authorization`` is that header's value as Latin-1, None where there is none. ``origin``
        is how the client reached the server (``https://host:port``); only a token server found
        by ``autoredirect`` needs it. ``client`` is who takes turns with others, and whose wrong
        logins are counted: the network address.

        An allowed login does not mean that all of ``wanted`` is allowed: ask the grant. A mount's
        source is better not in ``wanted``: a token without it can still upload.

        Raises :class:`Unauthorized` where a login would help: it is missing, not valid, or a token
        that does not cover ``wanted``.
        """
        return self._grant

    def close(self) -> None:
        """Give back what the guard holds; it is of no use afterwards."""
