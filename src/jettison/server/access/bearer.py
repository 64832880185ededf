"""Logins with a token that another service signed: Distribution's token authentication.

A token is a JSON Web Token (RFC 7519) whose ``access`` lists the rights of its holder. The registry
accepts it if a trusted key of the configuration signed it, with an allowed algorithm of that key.
The key never comes from the token: a ``kid`` names a trusted one, ``x5c`` has to lead to a trusted
certificate, and ``jwk`` has to be a trusted one.
"""

import asyncio
import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import jwt.algorithms
import msgspec
from cryptography import x509

from jettison.configuration.settings import ALGORITHMS, Token
from jettison.errors import ConfigurationError, InvalidDocument
from jettison.model import strict_json
from jettison.server.access.chains import verified_key
from jettison.server.access.challenges import bearer_token, challenge, scope
from jettison.server.access.credential_cache import CredentialCache
from jettison.server.access.grant import (
    AccessAction,
    Grant,
    Guard,
    TooManyLogins,
    Unauthorized,
    Wanted,
)
from jettison.server.access.keys import Keys, TokenKey, parse_certificates, parse_jwks, thumbprint
from jettison.server.access.reloaded_file import Unusable, WatchedFile
from jettison.server.access.rules import Rules
from jettison.server.http.sharing import Busy, Turns

__all__ = ["LEEWAY", "Scopes", "TokenGuard"]

LEEWAY: Final = 60.0
"""Seconds that the clocks of the two services may be apart."""

_WAITING: Final = 32
_WAITING_ALL: Final = 256
"""The most waiting tokens with certificates, of one client and of all."""

MAX_TOKEN: Final = 64 * 1024
MAX_SIGNATURE: Final = 2048
"""Characters of a signature: enough for RSA with 12,000 bits."""

_TOKEN: Final = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_ORIGIN: Final = re.compile(r"https?://[\w.\-:\[\]]{1,260}", re.ASCII)
_VERIFIERS: Final = {
    name: found
    for name, found in jwt.algorithms.get_default_algorithms().items()
    if name in ALGORITHMS
}


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    x5c: tuple[str, ...] | None = None
    jwk: dict[str, Any] | None = None
    crit: Any = None


class _Access(msgspec.Struct):
    type: str = ""
    name: str = ""
    actions: tuple[str, ...] | None = None


class _Claims(msgspec.Struct):
    exp: float
    iss: str = ""
    sub: str | None = None
    aud: str | tuple[str, ...] | None = None
    nbf: float | None = None
    access: tuple[_Access, ...] | None = None


class Scopes:
    """The rights of a token: actions by repository, and whether it opens the catalog."""

    __slots__ = ("_catalog", "_repositories")

    def __init__(self, access: Sequence[_Access]) -> None:
        repositories: dict[str, frozenset[str]] = {}
        self._catalog = False
        for each in access:
            actions = frozenset(each.actions or ())
            if each.type == "repository":
                repositories[each.name] = repositories.get(each.name, frozenset()) | actions
            elif (each.type, each.name) == ("registry", "catalog") and "*" in actions:
                self._catalog = True
        self._repositories: Mapping[str, frozenset[str]] = repositories

    def __repr__(self) -> str:
        return f"Scopes({len(self._repositories)} repositories, catalog={self._catalog})"

    def allow(self, repository: str | None, action: AccessAction) -> bool:
        """Whether the token has ``action``; ``*`` has all, and nothing else has ``admin``.

        Token servers do not know ``overwrite``: it is part of their ``push``.
        """
        if repository is None:
            return self._catalog
        if action is AccessAction.OVERWRITE:
            action = AccessAction.PUSH
        found = self._repositories.get(repository)
        return found is not None and (
            "*" in found or (action in found and action != AccessAction.ADMIN)
        )

    def show(self, repository: str) -> bool:
        """Whether the token opens the catalog, or pulls ``repository``."""
        return self._catalog or self.allow(repository, AccessAction.PULL)

    def cover(self, wanted: Sequence[Wanted]) -> bool:
        """Whether the token has everything of ``wanted``."""
        return all(self.allow(name, action) for name, actions in wanted for action in actions)


class _Verified(NamedTuple):
    token: bytes
    """The key of the whole token, its signature included."""
    scopes: Scopes
    grant: Grant
    since: float
    until: float


class _Read(NamedTuple):
    """The parts of a token; ``signed`` are the bytes that its signature is for."""

    header: _Header
    claims: _Claims
    signed: bytes
    signature: bytes


class _Untrusted(Exception):
    """A token that is not accepted, with the reason in the server's own words."""


class TokenGuard(Guard):
    """Admits the holders of tokens. An accepted token is remembered as long as it is valid.

    Certificates and keys are read again when their files change. ``now`` tells the time in seconds.

    Raises :class:`~jettison.errors.ConfigurationError` if there is no key, or an algorithm is not
    one of :data:`~jettison.configuration.ALGORITHMS`.
    """

    def __init__(
        self, settings: Token, rules: Rules | None, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._settings = settings
        self._rules = rules
        self._now = now
        self._algorithms = frozenset(settings.signing_algorithms or ALGORITHMS)
        if unknown := sorted(self._algorithms - set(ALGORITHMS)):
            message = f"auth.token.signingalgorithms has {unknown[0]!r}"
            raise ConfigurationError(message, hint=f"It may have {', '.join(ALGORITHMS)}.")
        bundle, jwks = settings.rootcertbundle, settings.jwks
        self._bundle = bundle and WatchedFile(bundle, parse_certificates)
        self._jwks = jwks and WatchedFile(jwks, parse_jwks)
        if self._bundle is None and self._jwks is None:
            message = "auth.token has no keys to verify tokens with"
            raise ConfigurationError(message, hint="Set rootcertbundle or jwks.")
        self._remembered = CredentialCache[_Verified]()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="token")
        self._turns = Turns(1, 1, _WAITING, _WAITING_ALL)
        self._sources: tuple[object, ...] = ()
        self._keys = Keys((), ())
        try:
            self._current()
        except Unusable as error:
            hint = "Correct auth.token.rootcertbundle or auth.token.jwks, or the file."
            raise ConfigurationError(str(error), hint=hint) from None

    async def admit(
        self,
        authorization: str | None,
        wanted: Sequence[Wanted],
        *,
        origin: str = "",
        client: str = "",
    ) -> Grant:
        """See :meth:`Guard.admit`."""
        token = bearer_token(authorization)
        if token is None:
            raise self._refusal(wanted, origin, "", "a token is needed")
        try:
            verified = await self._verified(token, client)
        except _Untrusted as error:
            raise self._refusal(wanted, origin, "invalid_token", str(error)) from None
        except Busy:
            found = self._refusal(wanted, origin, "", "too many tokens at once; try again later")
            raise TooManyLogins(found.challenge, found.message) from None
        if not verified.scopes.cover(wanted):
            message = "the token does not allow this"
            raise self._refusal(wanted, origin, "insufficient_scope", message)
        return verified.grant

    def _refusal(
        self, wanted: Sequence[Wanted], origin: str, error: str, message: str
    ) -> Unauthorized:
        settings = self._settings
        realm = settings.realm
        if settings.autoredirect and _ORIGIN.fullmatch(origin):
            realm = origin + settings.autoredirect_path
        parameters = {"realm": realm, "service": settings.service}
        parameters |= {"scope": scope(wanted), "error": error}
        return Unauthorized(challenge("Bearer", parameters), message)

    def _current(self) -> Keys:
        certificates = self._bundle.current() if self._bundle else ()
        named = self._jwks.current() if self._jwks else ()
        if not self._sources or self._sources != (certificates, named):
            self._sources = (certificates, named)
            self._keys = Keys(certificates, named)
            self._remembered.clear()
        return self._keys

    def close(self) -> None:
        """Let go of the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _verified(self, token: str, client: str) -> _Verified:
        try:
            keys = self._current()
        except Unusable:
            self._sources = ()
            self._remembered.clear()
            raise _Untrusted("tokens cannot be verified at the moment") from None
        now = self._now()
        # A signature can be written in several ways: one token takes one place all the same.
        name = self._remembered.name(token.rpartition(".")[0])
        whole = self._remembered.name(token)
        found = self._remembered.get(name)
        if found is None or not hmac.compare_digest(found.token, whole):
            found = await self._believed(self._read(token), keys, now, whole, client)
            if keys is self._keys:
                self._remembered.put(name, found)
        if now > found.until:
            raise _Untrusted("the token has expired")
        if now < found.since:
            raise _Untrusted("the token is not valid yet")
        return found

    def _read(self, token: str) -> _Read:
        """Return the content of a token for this registry, not verified yet."""
        parts = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN else None
        if parts is None or len(parts[3]) > MAX_SIGNATURE:
            raise _Untrusted("malformed token")
        try:
            header = strict_json.decode(_decoded(parts[1]), _Header)
            claims = strict_json.decode(_decoded(parts[2]), _Claims)
            signature = _decoded(parts[3])
        except (InvalidDocument, ValueError):
            raise _Untrusted("malformed token") from None
        if header.alg not in self._algorithms or header.crit is not None:
            raise _Untrusted("the token's kind of signature is not allowed")
        if claims.iss != self._settings.issuer:
            raise _Untrusted("the token is from another issuer")
        audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud or ()
        if self._settings.service not in audience:
            raise _Untrusted("the token is for another service")
        return _Read(header, claims, token[: parts.end(2)].encode(), signature)

    async def _believed(
        self, read: _Read, keys: Keys, now: float, whole: bytes, client: str
    ) -> _Verified:
        """Verify the signature; clients take turns if certificates have to be verified too."""
        if read.header.x5c and keys.certificates:
            async with self._turns.turn(client):
                loop = asyncio.get_running_loop()
                until = await loop.run_in_executor(self._pool, _signed_until, read, keys, now)
        else:
            until = _signed_until(read, keys, now)
        if until is None:
            raise _Untrusted("the token is not signed with a trusted key")
        claims = read.claims
        scopes = Scopes(claims.access or ())
        user = claims.sub or ""
        bounds = (scopes,) if self._rules is None else (scopes, self._rules.of(user))
        until = min(claims.exp + LEEWAY, until)
        return _Verified(whole, scopes, Grant(user, bounds), (claims.nbf or 0.0) - LEEWAY, until)


def _signed_until(read: _Read, keys: Keys, now: float) -> float | None:
    """Return until when the key that signed a token is trusted; None if no trusted key did."""
    candidates, until = _signers(read.header, keys, now)
    algorithm = read.header.alg
    for key in candidates:
        if _signed_by(key, algorithm, read.signed, read.signature):
            return until
    return None


def _signers(header: _Header, keys: Keys, now: float) -> tuple[Sequence[TokenKey], float]:
    """Return the trusted keys that the header names, and until when they are trusted."""
    forever = float("inf")
    if header.x5c and keys.certificates:
        return _of_chain(header.x5c, keys.certificates, now)
    if header.jwk is not None:
        key = keys.by_thumbprint.get(thumbprint(header.jwk) or "")
        return (key,) if key else (), forever
    return keys.by_name.get(header.kid or "", ()), forever


def _of_chain(
    encoded: Sequence[str], trusted: Sequence[x509.Certificate], now: float
) -> tuple[Sequence[TokenKey], float]:
    found = verified_key(encoded, trusted, now)
    return ((found[0],), found[1]) if found else ((), 0.0)


def _signed_by(key: TokenKey, algorithm: str, signed: bytes, signature: bytes) -> bool:
    if algorithm not in key.algorithms:
        return False
    return _VERIFIERS[algorithm].verify(signed, key.public, signature)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
