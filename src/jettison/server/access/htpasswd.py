"""Password files as ``htpasswd -B`` writes them.

They are read as by Distribution: the last line of a user counts, lines that begin with ``#`` are
comments, and only bcrypt lines work for a login. A malformed line is skipped; Distribution then
refuses every request.
"""

import hashlib
import re
from typing import Final, NamedTuple

import bcrypt

__all__ = ["MAX_PASSWORD", "Passwords", "make_up_for", "parse_passwords", "verify"]

MAX_PASSWORD: Final = 72
"""Bytes of a password that bcrypt reads; htpasswd and Distribution ignore what comes after."""

MAX_COST: Final = 14
"""About a second; failed logins of all users must not take longer."""

_SALT: Final = b"$2b$%02d$......................"

DEFAULT_COST: Final = 5
"""That of ``htpasswd -B``."""

_BCRYPT: Final = re.compile(rb"(\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53})(?:[:\s].*)?")


class Passwords(NamedTuple):
    """The users of a file with their bcrypt hashes, and what is wrong with the rest of it."""

    hashes: dict[str, bytes]
    absent: tuple[bytes, ...]
    """Hashes at the costs of the users, for unknown users: no password has one of them."""
    highest: int
    """The cost of each failed login, for any user."""
    costly: tuple[str, ...]
    """Users whose cost is higher than that: the time of a login reveals that they exist."""
    other: tuple[str, ...]
    """Users whose only lines have another kind of hash."""
    malformed: tuple[int, ...]
    """Numbers of malformed lines."""

    def compared(self, user: str, key: bytes) -> bytes:
        """Return the hash to compare the password of ``user`` with, known or not.

        An unknown user always has the same one; ``key`` keeps strangers from telling which.
        """
        found = self.hashes.get(user)
        if found is not None:
            return found
        name = hashlib.blake2b(user.encode(), key=key, digest_size=8).digest()
        return self.absent[int.from_bytes(name) % len(self.absent)]


def parse_passwords(raw: bytes) -> Passwords:
    """Read the content of a password file; nothing in it is an error."""
    found: dict[str, bytes | None] = {}
    malformed = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        name, colon, rest = text.partition(b":")
        try:
            user = name.decode()
        except UnicodeDecodeError:
            user = ""
        if not user or not colon:
            malformed.append(number)
            continue
        match = _BCRYPT.fullmatch(rest)
        found[user] = match and match[1]
    hashes = {user: value for user, value in found.items() if value is not None}
    other = tuple(sorted(found.keys() - hashes.keys()))
    costly = tuple(sorted(user for user, value in hashes.items() if _cost(value) > MAX_COST))
    costs = [cost for value in hashes.values() if (cost := _cost(value)) <= MAX_COST]
    absent = tuple(bcrypt.gensalt(cost) + b"." * 31 for cost in costs or [DEFAULT_COST])
    highest = max(costs, default=DEFAULT_COST)
    return Passwords(hashes, absent, highest, costly, other, tuple(malformed))


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])


def verify(password: bytes, expected: bytes) -> bool:
    """Whether ``password`` has the hash ``expected``; takes milliseconds, without Python's lock."""
    try:
        return bcrypt.checkpw(password[:MAX_PASSWORD], expected)
    except ValueError:  # a salt whose last character has bits that it cannot have
        return False


def make_up_for(expected: bytes, highest: int) -> None:
    """Take the time by which a comparison of cost ``highest`` exceeds one with ``expected``.

    2^c and then 2^c + 2^(c+1) + … + 2^(highest-1) steps are 2^highest of them.
    """
    for cost in range(_cost(expected), highest):
        bcrypt.hashpw(b"", _SALT % cost)
