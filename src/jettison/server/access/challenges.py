"""The value of ``WWW-Authenticate``, and reading of ``Authorization``."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from jettison.server.access.grant import AccessAction, Wanted

__all__ = ["Login", "basic_login", "bearer_token", "challenge", "scope"]

_ASKED: Final = {AccessAction.ADMIN: "*", AccessAction.OVERWRITE: "push"}


class Login(NamedTuple):
    """A user name and a password. Its representation does not show the password."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


def challenge(scheme: str, parameters: Mapping[str, str]) -> str:
    """Return a challenge, without empty parameters.

    Characters beyond ASCII are UTF-8, each byte as one character: encoded as Latin-1, the text is
    what Distribution sends.
    """
    shown = ",".join(f"{name}={_quoted(text)}" for name, text in parameters.items() if text)
    return f"{scheme} {shown}"


def _quoted(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped.encode().decode("latin-1")}"'


def scope(wanted: Sequence[Wanted]) -> str:
    """Return the scopes that a token needs for ``wanted``, as Distribution asks for them.

    The registry's own are all ``registry:catalog:*``; of a repository ``admin`` is ``*`` and
    ``overwrite`` is ``push``.
    """
    asked: dict[str, dict[str, None]] = {}
    for repository, actions in wanted:
        if repository is None:
            if actions:
                asked["registry:catalog"] = {"*": None}
            continue
        found = asked.setdefault(f"repository:{repository}", {})
        for action in actions:
            found[_ASKED.get(action, action.value)] = None
    return " ".join(f"{resource}:{','.join(found)}" for resource, found in asked.items() if found)


def basic_login(authorization: str) -> Login | None:
    """Return the login of a ``Basic`` header; None if it is another kind, or malformed."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
        name, colon, password = raw.partition(b":")
        user = name.decode()
    except (binascii.Error, ValueError):
        return None
    return Login(user, password) if colon else None


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of a ``Bearer`` header; None if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None
