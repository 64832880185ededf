"""The guard that a configuration asks for."""

from collections.abc import Sequence

from jettison.configuration.settings import AccessRule, Htpasswd, Token
from jettison.server.access.grant import Grant, Guard
from jettison.server.access.rules import Rules

__all__ = ["make_guard"]


def make_guard(auth: Htpasswd | Token | None, rules: Sequence[AccessRule] = ()) -> Guard:
    """Return the guard for ``auth``; ``rules``, if there are any, narrow its grants.

    Raises :class:`~jettison.errors.ConfigurationError` if it could admit no one: the file with the
    passwords or the keys is missing, unreadable, or has none that can be used.
    """
    narrowing = Rules(rules) if rules else None
    if auth is None:
        return Guard(Grant("", () if narrowing is None else (narrowing.of(""),)))
    # What a login needs (bcrypt, or PyJWT and cryptography) is loaded only where it is used.
    if isinstance(auth, Htpasswd):
        from jettison.server.access.basic import PasswordGuard  # noqa: PLC0415 - see above

        return PasswordGuard(auth, narrowing)
    from jettison.server.access.bearer import TokenGuard  # noqa: PLC0415 - see above

    return TokenGuard(auth, narrowing)
