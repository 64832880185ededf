"""Password files as ``htpasswd -B`` writes them.

Read as Distribution does: of a user's lines the last one counts, lines that begin with ``#`` are
comments, and only bcrypt lines can be logged in with. A line that is none is passed over here;
Distribution then refuses everybody.
"""

import re
from collections import Counter
from typing import Final, NamedTuple

import bcrypt

__all__ = ["MAX_PASSWORD", "Passwords", "parse_passwords", "verify"]

MAX_PASSWORD: Final = 72
"""Bytes of a password that bcrypt reads; htpasswd and Distribution ignore what comes after."""

DEFAULT_COST: Final = 5
"""That of ``htpasswd -B``."""

_BCRYPT: Final = re.compile(rb"(\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53})(?:[:\s].*)?")


class Passwords(NamedTuple):
    """The users of a file with their bcrypt hashes, and what is wrong with the rest of it."""

    hashes: dict[str, bytes]
    absent: bytes
    """What the password of somebody unknown is compared with: nothing equals it, at equal cost."""
    other: tuple[str, ...]
    """Users whose only lines have another kind of hash."""
    malformed: tuple[int, ...]
    """Numbers of lines that are none."""


def parse_passwords(raw: bytes) -> Passwords:
    """Read the content of a password file; nothing in it is an error."""
    found: dict[str, bytes | None] = {}
    malformed = []
    costs: Counter[bytes] = Counter()
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
        if match:
            costs[match[2]] += 1
    [(cost, _)] = costs.most_common(1) or [(b"%02d" % DEFAULT_COST, 0)]
    salt = bcrypt.gensalt(int(cost))
    hashes = {user: value for user, value in found.items() if value is not None}
    other = tuple(sorted(found.keys() - hashes.keys()))
    return Passwords(hashes, salt + b"." * 31, other, tuple(malformed))


def verify(password: bytes, expected: bytes) -> bool:
    """Whether ``password`` has the hash ``expected``; takes milliseconds, without Python's lock."""
    try:
        return bcrypt.checkpw(password[:MAX_PASSWORD], expected)
    except ValueError:  # a salt whose last character has bits that it cannot have
        return False
