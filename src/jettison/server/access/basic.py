"""Logins with a user name and a password out of a password file."""

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jettison.configuration.settings import Htpasswd
from jettison.errors import ConfigurationError
from jettison.server.access.challenges import Login, basic_login, challenge
from jettison.server.access.failed_logins import Guesses
from jettison.server.access.grant import Grant, Guard, TooManyLogins, Unauthorized, Wanted
from jettison.server.access.htpasswd import (
    MAX_COST,
    MAX_PASSWORD,
    Passwords,
    make_up_for,
    parse_passwords,
    verify,
)
from jettison.server.access.reloaded_file import Unusable, WatchedFile
from jettison.server.access.rules import ANONYMOUS, Rules
from jettison.server.http.sharing import Busy, Turns

__all__ = ["PasswordGuard"]

THREADS: Final = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Passwords hashed at a time: at least half of the machine is left for everything else."""
WAITING: Final = 64
WAITING_ALL: Final = 256
"""The most waiting logins of one client, and of all; further ones are refused."""

_log = logging.getLogger(__name__)


class PasswordGuard(Guard):
    """Admits users of a password file, and requests without a login as ``anonymous``.

    The last right login of a user is remembered, in memory and as a keyed hash, until the file
    changes. Passwords are hashed in threads, in which clients take turns; wrong logins have to
    wait. A failed login takes the same work for each user of the file and for an unknown one, so
    its time tells nothing. ``/v2/`` always asks a request without a login for one, because clients
    find out there whether to send theirs. A login with neither user nor password counts as none:
    some clients send that.

    Raises :class:`~jettison.errors.ConfigurationError` if the file cannot be read.
    """

    def __init__(self, settings: Htpasswd, rules: Rules | None) -> None:
        super().__init__()
        self._challenge = challenge("Basic", {"realm": settings.realm or "registry"})
        self._rules = rules
        self._file = WatchedFile(settings.path, parse_passwords)
        self._warned: set[str] = set()
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, tuple[bytes, Grant]] = {}
        self._checking: dict[tuple[str, bytes], asyncio.Task[Grant | None]] = {}
        self._guesses = Guesses()
        self._passwords: Passwords | None = None
        try:
            self._current()
        except Unusable as error:
            hint = f"Make it: htpasswd -B -c {settings.path} USER, or correct auth.htpasswd.path."
            raise ConfigurationError(str(error), hint=hint) from None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
        self._turns = Turns(THREADS, THREADS, WAITING, WAITING_ALL)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def admit(
        self,
        authorization: str | None,
        wanted: Sequence[Wanted],
        *,
        origin: str = "",  # noqa: ARG002 - as in Guard
        client: str = "",
    ) -> Grant:
        """See :meth:`Guard.admit`."""
        if not authorization:
            return self._without_login(wanted)
        try:
            passwords = self._current()
        except Unusable:
            message = "logins cannot be checked at the moment"
            raise Unauthorized(self._challenge, message) from None
        login = basic_login(authorization)
        if login is None:
            raise Unauthorized(self._challenge, "a login with user name and password is needed")
        if not login.user and not login.password:
            return self._without_login(wanted)
        # Of a password only so much counts, so one user is one entry, however it is written.
        name = self._name(login)
        known = self._remembered.get(login.user)
        if known is not None and hmac.compare_digest(known[0], name):
            return known[1]
        grant = await self._check(login, name, passwords, client)
        if grant is None:
            raise Unauthorized(self._challenge, f"login as {login.user[:80]!r} refused")
        return grant

    def _name(self, login: Login) -> bytes:
        """Return the key of a login, which tells nothing about the password."""
        raw = login.user.encode() + b":" + login.password[:MAX_PASSWORD]
        return hashlib.blake2b(raw, key=self._key, digest_size=32).digest()

    def _without_login(self, wanted: Sequence[Wanted]) -> Grant:
        if self._rules is not None and any(actions for _, actions in wanted):
            grant = Grant("", (self._rules.anonymous,))
            if all(grant.allows(name, action) for name, actions in wanted for action in actions):
                return grant
        raise Unauthorized(self._challenge, "a login is needed")

    def _current(self) -> Passwords:
        """Return the users in the file now; forget remembered logins if it changed."""
        try:
            found = self._file.current()
        except Unusable:
            self._passwords = None
            self._remembered.clear()
            raise
        if found is not self._passwords:
            self._passwords = found
            self._remembered.clear()
            self._checking.clear()
            self._warn(found)
        return found

    def _warn(self, found: Passwords) -> None:
        path = self._file.path
        lines = [f"line {number} is no user and hash" for number in found.malformed]
        others = [f"{user!r} has no bcrypt hash; set it with htpasswd -B" for user in found.other]
        others += [
            f"{user!r} has a hash of a cost above {MAX_COST}: a wrong login takes so long that it "
            "tells of the user; set the password anew with htpasswd -B -C 10"
            for user in found.costly
        ]
        if ANONYMOUS in found.hashes:
            others.append(f"{ANONYMOUS!r} in a rule means everybody, not this user")
        if not found.hashes:
            others.append("it has nobody who could log in")
        for text in [*lines, *others]:
            if text not in self._warned:
                self._warned.add(text)
                _log.warning("%s: %s", path, text)

    async def _check(
        self, login: Login, name: bytes, passwords: Passwords, client: str
    ) -> Grant | None:
        """Return the grant of a login, or None if it is wrong; raise if it has to wait.

        A login that one client sends several times at once is hashed once.
        """
        asked = client, name
        going = self._checking.get(asked)
        if going is None:
            seconds = self._guesses.take(client, login.user)
            if seconds > 0:
                message = "too many wrong logins; try again later"
                raise TooManyLogins(self._challenge, message, seconds)
            task = asyncio.create_task(self._verify(login, name, passwords, client))
            going = self._checking[asked] = task
            task.add_done_callback(lambda done: self._checked(asked, done))
        try:
            return await asyncio.shield(going)
        except Busy:
            message = "too many logins at once; try again later"
            raise TooManyLogins(self._challenge, message) from None

    def _checked(self, asked: tuple[str, bytes], task: asyncio.Task[Grant | None]) -> None:
        if self._checking.get(asked) is task:
            del self._checking[asked]
        if not task.cancelled():
            task.exception()  # each that waited for it has it; there may be none left

    async def _verify(
        self, login: Login, name: bytes, passwords: Passwords, client: str
    ) -> Grant | None:
        async with self._turns.turn(client):
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._pool, self._is_right, login, passwords)
        if not right:
            return None
        self._guesses.give(client, login.user)
        permissions = () if self._rules is None else (self._rules.of(login.user),)
        grant = Grant(login.user, permissions)
        if passwords is self._passwords:
            self._remembered[login.user] = name, grant
        return grant

    def _is_right(self, login: Login, passwords: Passwords) -> bool:
        compared = passwords.compared(login.user, self._key)
        right = verify(login.password, compared) and login.user in passwords.hashes
        if not right:
            make_up_for(compared, passwords.highest)
        return right
