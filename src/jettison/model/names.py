"""Names of repositories and tags, references, and globs.

The grammar is the distribution specification's ("Pulling manifests") and, for the host part, the
one that all clients share. There is no default registry and no default tag: a destructive command
means exactly what was typed.
"""

import fnmatch
import re
from typing import Final, Self

import msgspec

from jettison.errors import InvalidDigest, InvalidName, InvalidReference, underline
from jettison.model.digest import Digest

__all__ = ["HUB", "Location", "Reference", "RepoName", "Tag", "matches_glob"]

HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
"""The names of Docker Hub; its API is at the last one."""

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_GLOB: Final = re.compile(r"[A-Za-z0-9._*?\[\]!^-]{1,255}")
# Six digits, as few as a user would paste.
_SHORT: Final = re.compile(r"(?:sha256:|sha512:)?[0-9a-f]{6,127}")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_LOGIN: Final = re.compile(r"(?P<scheme>https?://)?[^/]*@(?!sha256:|sha512:)(?=[^/@]+(?:/|$))")
# As skopeo, buildah and Helm write it: what follows is a reference as everywhere.
_TRANSPORT: Final = re.compile(r"(?:docker|oci)://")
_MAX_NAME: Final = 255
_NAME_HINT: Final = (
    "Lower-case letters, digits and separators . _ - between them, parts joined by /."
)


class RepoName(str):
    """A repository name, such as ``team/app``; raises :class:`InvalidName`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and take it as it is."""
        if len(text) > _MAX_NAME or _REPOSITORY.fullmatch(text) is None:
            message = f"invalid repository name {text!r}"
            raise InvalidName(message, hint=_NAME_HINT)
        return super().__new__(cls, text)


class Tag(str):
    """A tag, such as ``1.2``; raises :class:`InvalidName`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and take it as it is."""
        if _TAG.fullmatch(text) is None:
            message = f"invalid tag {text!r}"
            hint = "At most 128 letters, digits, _ . and -, not starting with . or -."
            raise InvalidName(message, hint=hint)
        return super().__new__(cls, text)


def matches_glob(text: str, pattern: str) -> bool:
    """Whether ``text`` matches ``pattern`` with ``*``, ``?`` and ``[…]``, case counting."""
    return fnmatch.fnmatchcase(text, pattern)


class Location(msgspec.Struct, frozen=True):
    """A registry host, with or without a repository: the argument of ``ls`` and ``check``."""

    host: str
    repository: RepoName | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST`` or ``HOST/REPO``, after an optional ``docker://`` or ``oci://``."""
        text = _TRANSPORT.sub("", text, count=1) if _TRANSPORT.match(text) else text
        host, rest = _split_host(text)
        if rest is None:
            return cls(host)
        try:
            return cls(host, _repository(text, rest, len(host) + 1))
        except InvalidReference as error:
            name = _REPOSITORY.match(rest)
            if name is not None and re.match("[:@].", rest[name.end() :]):
                error.hint = _instead(text, len(host) + 1 + name.end())
            raise

    def __str__(self) -> str:
        return self.host if self.repository is None else f"{self.host}/{self.repository}"


class Reference(msgspec.Struct, frozen=True):
    """``HOST/REPO`` with a tag, a glob of tags, or a digest; at most one of them.

    ``short`` is the beginning of a digest, with or without its algorithm, as ``ls`` prints it:
    it names the one manifest whose digest begins with it.
    """

    host: str
    repository: RepoName
    tag: Tag | None = None
    glob: str | None = None
    digest: Digest | None = None
    short: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST/REPO``, ``HOST/REPO:TAG``, ``HOST/REPO:GLOB`` or ``HOST/REPO@DIGEST``.

        ``docker://`` or ``oci://`` may come before it. Raises :class:`InvalidReference`, whose
        message underlines the wrong part.
        """
        text = _TRANSPORT.sub("", text, count=1) if _TRANSPORT.match(text) else text
        host, rest = _split_host(text)
        if not rest:
            raise _invalid(text, 0, len(text), "a reference needs a host and a repository")
        start = len(host) + 1
        path, at, encoded = rest.partition("@")
        path, colon, tag = path.partition(":")
        repository = _repository(text, path, start)
        tag_at = start + len(path) + 1
        if at and colon:
            message = "a tag and a digest together are ambiguous; give one"
            raise _invalid(text, tag_at - 1, len(text), message)
        if at:
            digest_at = start + len(path) + 1
            try:
                return cls(host, repository, digest=Digest(encoded))
            except InvalidDigest as error:
                if _SHORT.fullmatch(encoded) is not None:
                    return cls(host, repository, short=encoded)
                raise _invalid(text, digest_at, len(text), error.message) from None
        if not colon:
            return cls(host, repository)
        if _TAG.fullmatch(tag) is not None:
            return cls(host, repository, tag=Tag(tag))
        if any(character in tag for character in "*?[") and _GLOB.fullmatch(tag) is not None:
            return cls(host, repository, glob=tag)
        end = len(text) if tag else tag_at
        message = "invalid tag: at most 128 letters, digits, _ . and -, not starting with . or -"
        hint = None
        if "+" in tag:
            # https://helm.sh/docs/topics/registries/: it does so with versions of charts.
            hint = f"No tag has a + in it; Helm and others write _ there: {tag.replace('+', '_')}"
        raise _invalid(text, tag_at if tag else tag_at - 1, end, message, hint)

    def means(self, digest: Digest) -> bool:
        """Whether this names the manifest, in full or by the beginning of its digest."""
        if self.short is None:
            return self.digest == digest
        return digest.startswith(self.short) or digest.hex.startswith(self.short)

    def __str__(self) -> str:
        if self.digest is not None or self.short is not None:
            return f"{self.host}/{self.repository}@{self.digest or self.short}"
        suffix = self.tag or self.glob
        return f"{self.host}/{self.repository}" + (f":{suffix}" if suffix else "")


def _split_host(text: str) -> tuple[str, str | None]:
    """Split at the first slash, or raise with the wrong part underlined."""
    login = _LOGIN.match(text)
    if login is not None:
        # A screen or a log must not repeat the password.
        start = len(login["scheme"] or "")
        shown = f"{text[:start]}***@{text[login.end() :]}"
        hint = "Log in with `jettison login HOST`, and leave the login out of the reference."
        raise _invalid(shown, start, start + 4, "a reference carries no login", hint)
    for scheme in ("http://", "https://"):
        if text.startswith(scheme):
            hint = f"Write {text.removeprefix(scheme).rstrip('/') or 'HOST'}"
            hint += "; for a registry without TLS add --plain-http." if scheme == "http://" else "."
            raise _invalid(text, 0, len(scheme), "a reference has no scheme", hint)
    host, slash, rest = text.partition("/")
    if _HOST.fullmatch(host) is None:
        bad = re.search(r"[^A-Za-z0-9.:\[\]-]", host)
        start, end = (bad.start(), bad.end()) if bad else (0, len(host))
        many = host.count(":") > 1 and not host.startswith("[")
        how = "An IPv6 address is written in brackets: [::1]:5000/REPO:TAG." if many else None
        if re.match(r"/[^/]+/", text):
            how = "Name the registry, HOST/REPO:TAG, and give its storage beside it: --storage."
        raise _invalid(text, start, end, "invalid registry host", how)
    # As every client decides it: without a dot, a port or "localhost" it is a path, not a host,
    # and we know no registry that would be meant.
    if not (":" in host or "." in host or host.lower() == "localhost"):
        hint = f"Name the registry too, for example localhost:5000/{text}."
        raise _invalid(text, 0, len(host), "no registry host here", hint)
    return host, rest if slash else None


def _repository(text: str, name: str, start: int) -> RepoName:
    if name and "/" not in name and text[: start - 1].lower() in HUB:
        # Docker's own images have no owner in their name, and this one in their path.
        name, text = f"library/{name}", f"{text[:start]}library/{text[start:]}"
    try:
        return RepoName(name)
    except InvalidName:
        pass
    if not name:
        raise _invalid(text, start - 1, start, "the repository's name is missing")
    if len(name) > _MAX_NAME:
        message = "repository names have 255 characters at most"
        raise _invalid(text, start, start + len(name), message)
    # Underline from where the longest valid beginning ends.
    match = _REPOSITORY.match(name)
    good = match.end() if match else 0
    if name[good : good + 1] == "/" and name[good + 1 : good + 2] not in {"", "/"}:
        good += 1  # the separator is fine, what follows it is not
    end = start + (len(name) if good >= len(name) else good + 1)
    at = start + min(good, len(name) - 1)
    raise _invalid(text, at, end, "invalid repository name", _NAME_HINT)


def _instead(text: str, at: int) -> str:
    """Return the next step for a tag, a glob or a digest at ``at`` in place of a repository."""
    if text[at] == ":" and re.search(r"[*?\[]", text[at:]):
        return f"List such tags with: jettison ls {text[:at]} --filter '{text[at + 1 :]}'"
    return f"Show that image with: jettison inspect {text}"


def _invalid(
    text: str, start: int, end: int, reason: str, hint: str | None = None
) -> InvalidReference:
    message = f"{reason}\n{underline(text, start, end)}"
    hint = hint or "References are HOST/REPO:TAG, HOST/REPO:GLOB or HOST/REPO@DIGEST."
    return InvalidReference(message, hint=hint)
