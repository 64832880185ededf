"""The ``auth`` section."""

from typing import Final

from jettison.configuration.http import is_web_url
from jettison.configuration.section import Section
from jettison.configuration.settings import ALGORITHMS, Htpasswd, Token

__all__ = ["read_auth"]

_KINDS: Final = ("htpasswd", "token", "none")
_REFUSED: Final = "silly"
_SHARED: Final = frozenset({"HS256", "HS384", "HS512"})


def read_auth(section: Section) -> Htpasswd | Token | None:
    """Read how clients log in; None if they do not."""
    kinds = list(section)
    if len(kinds) > 1:
        names = " and ".join(section.quoted(kind) for kind in sorted(kinds))
        section.bad("", f"names {names}", "Exactly one kind may stand there.")
        return None
    section = section.only("serving")
    # A login that is asked for and not checked would let everyone in.
    if len(section) != len(kinds):
        section.bad("", "has a key that is no text", f"Allowed are {', '.join(_KINDS)}.")
    if "htpasswd" in kinds:
        return _htpasswd(section.section("htpasswd"))
    if "token" in kinds:
        return _token(section.section("token"))
    if kinds and kinds[0].lower() not in {"none", _REFUSED}:
        hint = f"Allowed are {', '.join(_KINDS)}."
        section.bad("", f"names the unknown kind {section.quoted(kinds[0])}", hint)
    elif kinds == [_REFUSED] and not section.section(_REFUSED):
        section.bad(_REFUSED, "is not supported: it lets everyone in", "Remove it.")
    return None


def _htpasswd(section: Section) -> Htpasswd | None:
    realm = section.needed("realm")
    section.needed("path")
    path = section.path("path")
    return None if path is None else Htpasswd(realm, path)


def _token(section: Section) -> Token:
    autoredirect = section.flag("autoredirect", default=False)
    realm = section.needed("realm", secret=True)
    if realm and not autoredirect and not is_web_url(realm):
        hint = "It is a URL of http or https, where clients get their tokens."
        section.bad("realm", "is no URL", hint)
    token = Token(
        realm=realm,
        service=section.needed("service"),
        issuer=section.needed("issuer"),
        rootcertbundle=section.path("rootcertbundle"),
        jwks=section.path("jwks"),
        signing_algorithms=_algorithms(section),
        autoredirect=autoredirect,
        autoredirect_path=section.text("autoredirectpath") or "/auth/token/",
    )
    if token.rootcertbundle is None and token.jwks is None:
        hint = "It is the path of a PEM file with certificates; or name a jwks file."
        section.bad("rootcertbundle", "is missing", hint)
    return token


def _algorithms(section: Section) -> tuple[str, ...]:
    key = "signingalgorithms"
    named = section.texts(key)
    if not named:
        return ALGORITHMS
    for index, name in enumerate(named):
        if name not in ALGORITHMS and name not in _SHARED:
            hint = f"Allowed are {', '.join(ALGORITHMS)}."
            section.bad(f"{key}[{index}]", f"is {name[:40]!r}", hint)
    allowed = tuple(name for name in named if name in ALGORITHMS)
    shared = sorted(_SHARED.intersection(named))
    if shared and not allowed:
        hint = f"Allowed are {', '.join(ALGORITHMS)}."
        section.bad(key, "has only algorithms with a shared secret", hint)
    elif shared:
        section.warn(key, f"has {', '.join(shared)}: tokens signed so are never accepted")
    return allowed
