"""Logins with a user name and a password out of a password file."""

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jettison.errors import ConfigurationError
from jettison.server.access.challenges import Login, basic_login, challenge
from jettison.server.access.grant import Grant, Guard, TooManyLogins, Unauthorized, Wanted
from jettison.server.access.htpasswd import Passwords, parse_passwords, verify
from jettison.server.access.remembered import Remembered
from jettison.server.access.rules import ANONYMOUS, Rules
from jettison.server.access.watched import Unusable, WatchedFile
from jettison.server.configuration import Htpasswd

__all__ = ["PasswordGuard"]

THREADS: Final = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Passwords that are hashed at a time: at least half of the machine is left for everything else."""
WAITING: Final = 256
"""Logins that wait for their turn; one more is refused."""

_log = logging.getLogger(__name__)


class PasswordGuard(Guard):
    """Admits users of a password file, and without a login those whom rules name ``anonymous``.

    A login that was right is remembered, in memory and as a keyed hash, until the file's content
    changes. Passwords are hashed in threads, for an unknown user too. A request without a login is
    always asked for one at ``/v2/``, since clients find out there whether to send theirs. A login
    with neither user nor password counts as none: some clients send that.

    Raises :class:`~jettison.errors.ConfigurationError` if the file cannot be read.
    """

    def __init__(self, settings: Htpasswd, rules: Rules | None) -> None:
        super().__init__()
        self._challenge = challenge("Basic", {"realm": settings.realm or "registry"})
        self._rules = rules
        self._file = WatchedFile(settings.path, parse_passwords)
        self._warned: set[str] = set()
        self._remembered = Remembered[Grant]()
        self._passwords: Passwords | None = None
        try:
            self._current()
        except Unusable as error:
            hint = f"Make it: htpasswd -B -c {settings.path} USER, or correct auth.htpasswd.path."
            raise ConfigurationError(str(error), hint=hint) from None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
        self._turns = asyncio.Semaphore(THREADS)
        self._waiting = 0

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def admit(
        self,
        authorization: str | None,
        wanted: Sequence[Wanted],
        *,
        origin: str = "",  # noqa: ARG002 - as in Guard
    ) -> Grant:
        """See :meth:`Guard.admit`."""
        if not authorization:
            return self._without_login(wanted)
        try:
            passwords = self._current()
        except Unusable:
            message = "logins cannot be checked at the moment"
            raise Unauthorized(self._challenge, message) from None
        name = self._remembered.name(authorization)
        grant = self._remembered.get(name)
        if grant is not None:
            return grant
        login = basic_login(authorization)
        if login is None:
            raise Unauthorized(self._challenge, "a login with user name and password is needed")
        if not login.user and not login.password:
            return self._without_login(wanted)
        return await self._check(login, name, passwords)

    def _without_login(self, wanted: Sequence[Wanted]) -> Grant:
        if self._rules is not None and any(actions for _, actions in wanted):
            grant = Grant("", (self._rules.anonymous,))
            if all(grant.allows(name, action) for name, actions in wanted for action in actions):
                return grant
        raise Unauthorized(self._challenge, "a login is needed")

    def _current(self) -> Passwords:
        """Return the users as the file has them now; what was remembered goes if it changed."""
        try:
            found = self._file.current()
        except Unusable:
            self._passwords = None
            self._remembered.clear()
            raise
        if found is not self._passwords:
            self._passwords = found
            self._remembered.clear()
            self._warn(found)
        return found

    def _warn(self, found: Passwords) -> None:
        path = self._file.path
        lines = [f"line {number} is no user and hash" for number in found.malformed]
        others = [f"{user!r} has no bcrypt hash; set it with htpasswd -B" for user in found.other]
        if ANONYMOUS in found.hashes:
            others.append(f"{ANONYMOUS!r} in a rule means everybody, not this user")
        if not found.hashes:
            others.append("it has nobody who could log in")
        for text in [*lines, *others]:
            if text not in self._warned:
                self._warned.add(text)
                _log.warning("%s: %s", path, text)

    async def _check(self, login: Login, name: bytes, passwords: Passwords) -> Grant:
        if self._waiting >= WAITING:
            raise TooManyLogins(self._challenge, "too many logins at once; try again later")
        self._waiting += 1
        try:
            async with self._turns:
                # The same login, sent several times at once, is hashed once.
                grant = self._remembered.get(name)
                if grant is not None:
                    return grant
                expected = passwords.hashes.get(login.user)
                loop = asyncio.get_running_loop()
                right = await loop.run_in_executor(
                    self._pool, verify, login.password, expected or passwords.absent
                )
        finally:
            self._waiting -= 1
        if expected is None or not right:
            raise Unauthorized(self._challenge, f"login as {login.user[:80]!r} refused")
        permissions = () if self._rules is None else (self._rules.of(login.user),)
        grant = Grant(login.user, permissions)
        if passwords is self._passwords:
            self._remembered.put(name, grant)
        return grant
