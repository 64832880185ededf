"""Logins: ``WWW-Authenticate``, Basic, and Bearer tokens cached by what they allow.

The flow is that of the distribution project's "Token Authentication Specification" and "Token
Scope Documentation": send the request, read the challenge of the 401, get a token for its scope
from its realm, send the request again. No message and no ``repr`` contains a credential.
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from jettison.client.credentials import Credentials, CredentialSource
from jettison.errors import (
    AccessDenied,
    InvalidDocument,
    LoginRefused,
    RegistryError,
    UnexpectedResponse,
)
from jettison.model import strict_json
from jettison.model.names import RepoName

__all__ = [
    "NO_ACCESS",
    "Access",
    "Authenticator",
    "Challenge",
    "Fetch",
    "Reply",
    "parse_challenges",
]

_DEFAULT_LIFE: Final = 60.0
_MAX_ATTEMPTS: Final = 3

Scope = frozenset[tuple[str, str, str]]
"""What a token allows: (type, name, action)."""


class Access(NamedTuple):
    """The right that a request needs, and its repository (None: all repositories)."""

    repository: RepoName | None = None
    actions: tuple[str, ...] = ()

    @property
    def scope(self) -> Scope:
        """The scope for the request to a token server."""
        if self.repository is None:
            return frozenset(("registry", "catalog", action) for action in self.actions)
        name = str(self.repository)
        return frozenset(("repository", name, action) for action in self.actions)

    def __str__(self) -> str:
        """The right in messages: "delete from team/app"."""
        if self.repository is None:
            return "list the repositories" if self.actions else "use it"
        verb = "pull from"
        if "delete" in self.actions:
            verb = "delete from"
        elif "push" in self.actions:
            verb = "push to"
        return f"{verb} {self.repository}"


NO_ACCESS: Final = Access()


class Reply(NamedTuple):
    """A token server's answer; ``said`` is its status with the server's own words."""

    status: int
    body: bytes
    said: str = ""


Fetch = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Reply]]
"""Send a request: method, URL, headers, body."""


class Challenge(NamedTuple):
    """One way to log in that a server offers; scheme and parameter names in lower case."""

    scheme: str
    parameters: dict[str, str]


_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a grammar rule, no password
_PARAMETER: Final = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?=,|$)')
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:\s+|(?=,)|$)")
_TOKEN68: Final = re.compile(r"[0-9A-Za-z._~+/-]+=*\s*(?=,|$)")


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read ``WWW-Authenticate`` headers (RFC 9110, 11.6.1), each as far as it can be read."""
    found: list[Challenge] = []
    for value in values:
        position = 0
        inside: Challenge | None = None
        while position < len(value):
            if value[position] in ", \t":
                position += 1
                continue
            if inside is not None and (match := _PARAMETER.match(value, position)):
                text = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
                inside.parameters.setdefault(match[1].lower(), text)
            elif match := _SCHEME.match(value, position):
                inside = Challenge(match[1].lower(), {})
                found.append(inside)
                if (
                    not _PARAMETER.match(value, match.end())
                    and not _SCHEME.match(value, match.end())
                    and (blob := _TOKEN68.match(value, match.end()))
                ):
                    match = blob
            else:
                break
            position = match.end()
    return found


class _Token(NamedTuple):
    value: str
    expires: float


class _TokenBody(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


class _ScopeRefused(UnexpectedResponse):
    """The token server answers 400: it does not understand the scope."""


class Authenticator:
    """Makes the ``Authorization`` header for one registry.

    ``plain``: the registry has no TLS, so its token server may have none either.
    ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        host: str,
        source: CredentialSource | None,
        fetch: Fetch,
        *,
        plain: bool,
        clock: Callable[[], float],
    ) -> None:
        self._host = host
        self._source = source
        self._fetch = fetch
        self._plain = plain
        self._clock = clock
        self._challenge: Challenge | None = None
        self._known: dict[RepoName | None, Credentials | None] = {}
        self._lookup = asyncio.Lock()
        self._accepted: str | None = None
        self._good: set[Credentials] = set()
        self._knows_no_delete: set[str] = set()
        self._wider: dict[Access, Scope] = {}
        self._tokens: dict[tuple[object, ...], _Token] = {}
        self._locks: dict[tuple[object, ...], asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"Authenticator({self._host!r})"

    @property
    def kind(self) -> str:
        """The kind of login that the registry has asked for: ``none``, ``basic`` or ``bearer``."""
        return self._challenge.scheme if self._challenge else "none"

    @property
    def challenge(self) -> Challenge | None:
        """The last challenge that was answered; its realm and service tell products apart."""
        return self._challenge

    @property
    def given(self) -> bool:
        """Whether there was a login for the registry when it asked for one."""
        return any(self._known.values())

    async def header(self, access: Access) -> str | None:
        """Return the header to send before a challenge, from earlier answers."""
        challenge = self._challenge
        if challenge is None:
            return None
        credentials = await self._credentials(access.repository)
        if challenge.scheme == "basic":
            return None if credentials is None else _basic(credentials)
        scope = self._wider.get(access, access.scope)
        return await self._bearer(challenge, scope, credentials)

    async def header_beside(self, repository: RepoName | None, *, token: bool) -> str | None:
        """Return the header for an API beside the registry's, on the same host; None without.

        That is Basic; with ``token`` the password as a bearer token, if it is one by the name of
        its user (``$oauthtoken``, as Quay has it).
        """
        credentials = await self._credentials(repository)
        if credentials is None:
            return None
        if token:
            known = credentials.username == _TOKEN_USER and _is_token(credentials.secret)
            return f"Bearer {credentials.secret}" if known else None
        return _basic(credentials)

    async def answer(
        self, challenges: Iterable[str], access: Access, sent: str | None, attempt: int
    ) -> str:
        """Return the header to send after the ``attempt``-th 401 (from 0).

        Raises :class:`~jettison.errors.LoginRefused` if a login is missing or was not accepted,
        :class:`~jettison.errors.AccessDenied` if it was accepted and is not enough.
        """
        challenge = self._choose(parse_challenges(challenges))
        header = await self._answer(challenge, access, sent, attempt)
        # Only what worked: one odd challenge is not to spoil all requests that follow.
        self._challenge = challenge
        return header

    async def _answer(
        self, challenge: Challenge, access: Access, sent: str | None, attempt: int
    ) -> str:
        credentials = await self._credentials(access.repository)
        if challenge.scheme == "basic":
            if credentials is None:
                raise self._needs_login()
            header = _basic(credentials)
            if header is None or sent == header:
                # Some answer 401, not 403, where a good login is not enough.
                good = sent is not None and sent == self._accepted
                raise self._not_allowed(access) if good else self._refused()
            return header
        before = self._wider.get(access, access.scope)
        scope = before | _parse_scope(challenge.parameters.get("scope", ""))
        if attempt and (scope == before or attempt >= _MAX_ATTEMPTS):
            # The token is fresh and carries all that was asked for.
            if credentials is None:
                raise self._needs_login()
            raise self._not_allowed(access) if access.actions else self._refused()
        self._wider[access] = scope
        self._forget(sent)
        return await self._bearer(challenge, scope, credentials)

    def accepted(self, sent: str | None) -> None:
        """Note that a request with this header was not answered with 401."""
        self._accepted = sent or self._accepted

    def _choose(self, offered: list[Challenge]) -> Challenge:
        for scheme in ("bearer", "basic"):
            for challenge in offered:
                if challenge.scheme == scheme and (
                    scheme == "basic" or challenge.parameters.get("realm")
                ):
                    return challenge
        if not offered:
            message = f"{self._host} refuses access and does not say which login it needs"
            raise LoginRefused(message, hint="Is it a registry?")
        names = ", ".join(sorted({challenge.scheme for challenge in offered}))
        message = f"{self._host} requires a kind of login that is not supported: {names}"
        raise LoginRefused(message)

    async def _credentials(self, repository: RepoName | None) -> Credentials | None:
        if self._source is None:
            return None
        async with self._lookup:
            if repository not in self._known:
                # Files are read and helper programs run: off the loop.
                self._known[repository] = await asyncio.to_thread(
                    self._source.find, self._host, repository
                )
            return self._known[repository]

    # -- tokens --------------------------------------------------------------------------------

    async def _bearer(
        self, challenge: Challenge, scope: Scope, credentials: Credentials | None
    ) -> str:
        parameters = challenge.parameters
        key = (parameters["realm"], parameters.get("service"), scope, credentials)
        # One fetch at a time for a scope: those who wait find the token that it brought.
        async with self._locks.setdefault(key, asyncio.Lock()):
            token = self._tokens.get(key)
            if token is None or token.expires <= self._clock():
                token = await self._fetch_allowed(challenge, scope, credentials)
                self._tokens[key] = token
        return f"Bearer {token.value}"

    async def _fetch_allowed(
        self, challenge: Challenge, scope: Scope, credentials: Credentials | None
    ) -> _Token:
        """Fetch a token; one for everything from a server that does not know "delete".

        Quay takes ``pull``, ``push`` and ``*``, and answers any other action with 400.
        """
        realm = challenge.parameters["realm"]
        other = _without_delete(scope)
        if realm not in self._knows_no_delete:
            try:
                return await self._fetch_token(challenge, scope, credentials)
            except _ScopeRefused:
                if other == scope:
                    raise
        token = await self._fetch_token(challenge, other, credentials)
        if other != scope:
            self._knows_no_delete.add(realm)
        return token

    def _forget(self, sent: str | None) -> None:
        """Drop the token that was just refused, unless a newer one has replaced it."""
        for key, token in list(self._tokens.items()):
            if sent == f"Bearer {token.value}":
                del self._tokens[key]

    async def _fetch_token(
        self, challenge: Challenge, scope: Scope, credentials: Credentials | None
    ) -> _Token:
        realm = urlsplit(challenge.parameters["realm"])
        if realm.scheme not in {"http", "https"} or not realm.hostname:
            message = f"{self._host} names a token server with a malformed address"
            raise UnexpectedResponse(message)
        if credentials is not None and realm.scheme == "http" and not self._plain:
            message = (
                f"{self._host} wants the login sent to a token server without TLS, at "
                f"{realm.hostname}; it was not"
            )
            hint = "The realm in the registry's configuration should start with https://."
            raise LoginRefused(message, hint=hint)
        fields = parse_qsl(realm.query, keep_blank_values=True)
        if service := challenge.parameters.get("service"):
            fields.append(("service", service))
        scopes = _render_scope(scope)
        headers = {"Accept": "application/json"}
        body = None
        method = "GET"
        query = ""
        if credentials is not None and credentials.identity_token:
            method = "POST"
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            query = realm.query
            form = [
                ("grant_type", "refresh_token"),
                ("service", challenge.parameters.get("service", "")),
                ("client_id", "jettison"),
                ("refresh_token", credentials.identity_token),
            ]
            if scopes:
                form.append(("scope", " ".join(scopes)))
            body = urlencode(form).encode()
        else:
            if credentials is not None and (basic := _basic(credentials)):
                headers["Authorization"] = basic
            query = urlencode([*fields, *(("scope", text) for text in scopes)])
        started = self._clock()
        url = urlunsplit((realm.scheme, realm.netloc.rpartition("@")[2], realm.path, query, ""))
        reply = await self._fetch(method, url, headers, body)
        server = realm.netloc.rpartition("@")[2]
        return self._read_token(reply, server, credentials, started, scopes)

    def _read_token(
        self,
        reply: Reply,
        server: str,
        credentials: Credentials | None,
        started: float,
        scopes: list[str],
    ) -> _Token:
        message = f"the token server of {self._host} ({server}) "
        if reply.status in {401, 403} and credentials is None:
            raise self._needs_login()
        if reply.status in {401, 403} and (
            credentials in self._good or (reply.status == HTTPStatus.FORBIDDEN and scopes)
        ):
            # The login is good, for something else.
            message += f"refuses this login {' '.join(scopes) or 'a token'}: {reply.said}"
            raise AccessDenied(message, hint=_ASK_OWNER)
        if reply.status in {401, 403}:
            raise self._refused()
        if reply.status == HTTPStatus.BAD_REQUEST:
            if credentials is not None and credentials.identity_token:
                raise self._refused()
            raise _ScopeRefused(f"{message}answers {reply.said} to {' '.join(scopes)}")
        if reply.status != HTTPStatus.OK:
            raise UnexpectedResponse(f"{message}answers {reply.said}")
        try:
            body = strict_json.decode(reply.body, _TokenBody, strict=False)
        except InvalidDocument:
            raise UnexpectedResponse(f"{message}does not answer with a token") from None
        value = body.token or body.access_token
        if not _is_token(value):
            raise UnexpectedResponse(f"{message}does not answer with a token")
        if credentials is not None:
            self._good.add(credentials)
        life = body.expires_in if body.expires_in and body.expires_in > 0 else _DEFAULT_LIFE
        # Early, so that it is still good when it arrives.
        return _Token(value, started + life - min(life * 0.2, 30.0))

    # -- errors --------------------------------------------------------------------------------

    def _not_allowed(self, access: Access) -> RegistryError:
        message = f"the login to {self._host} is not allowed to {access}"
        return AccessDenied(message, hint=_ASK_OWNER)

    def _needs_login(self) -> RegistryError:
        message = f"{self._host} needs a login"
        return LoginRefused(message, hint=f"Run: jettison login {self._host}")

    def _refused(self) -> RegistryError:
        message = f"login to {self._host} refused: the user name or password is wrong"
        hint = f"Log in again with: jettison login {self._host}"
        return LoginRefused(message, hint=hint)


_ASK_OWNER: Final = "Use another login, or ask the registry's operator for that right."


_TOKEN_USER: Final = "$oauthtoken"  # noqa: S105 - the name of a user


def _is_token(value: str) -> bool:
    """Whether a token fits into a header; with a line break it would be a header of its own."""
    return bool(value) and value.isascii() and value.isprintable()


def _basic(credentials: Credentials) -> str | None:
    """Make the header, or None for an identity token, which only a token server understands."""
    if credentials.identity_token:
        return None
    pair = f"{credentials.username}:{credentials.secret}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _parse_scope(text: str) -> Scope:
    """Read ``type:name:action,action`` separated by spaces; names may have colons in them."""
    found: set[tuple[str, str, str]] = set()
    for part in text.split():
        kind, _, rest = part.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind and name:
            found.update((kind, name, action) for action in actions.split(",") if action)
    return frozenset(found)


def _without_delete(scope: Scope) -> Scope:
    """Return the scope for a token server that has no action for deleting."""
    wider: set[tuple[str, str, str]] = set()
    for kind, name, action in scope:
        actions = ("push", "*") if (kind, action) == ("repository", "delete") else (action,)
        wider.update((kind, name, one) for one in actions)
    return frozenset(wider)


def _render_scope(scope: Scope) -> list[str]:
    actions: dict[tuple[str, str], list[str]] = {}
    for kind, name, action in sorted(scope):
        actions.setdefault((kind, name), []).append(action)
    return [f"{kind}:{name}:{','.join(found)}" for (kind, name), found in actions.items()]
