"""The files and helpers in which Docker and the containers tools keep logins.

The order of the search is that of the manual containers-auth.json(5). Environment, home and user id
are arguments. A message names the file or the helper, never its content.
"""

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from jettison.errors import ConfigurationError, InvalidDocument, UsageError
from jettison.model import strict_json
from jettison.model.names import HUB, RepoName

__all__ = ["CredentialSource", "CredentialStore", "Credentials", "FixedCredentials"]

_HELPER_SECONDS: Final = 30.0
_HUB_KEY: Final = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name with its password, or an identity token. Its ``repr`` shows neither."""

    username: str
    secret: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


class CredentialSource(Protocol):
    """A source of logins."""

    def find(self, host: str, repository: RepoName | None = None) -> Credentials | None:
        """Return the login for a host, or for a repository there, or None."""


@dataclass(frozen=True, slots=True)
class FixedCredentials:
    """One login for every host, as when ``jettison login`` tries it."""

    credentials: Credentials | None

    def find(
        self,
        host: str,  # noqa: ARG002 - the protocol's
        repository: RepoName | None = None,  # noqa: ARG002 - the protocol's
    ) -> Credentials | None:
        """Return the one login."""
        return self.credentials


@dataclass(frozen=True, slots=True)
class CredentialStore:
    """The user's credential files.

    ``authfile`` (``--authfile``), or else ``REGISTRY_AUTH_FILE``, is the only file used if it is
    given, as with podman and skopeo. Methods block on files and helper programs.
    """

    environment: Mapping[str, str] = field(repr=False)
    home: Path
    authfile: Path | None = None
    uid: int | None = None

    @classmethod
    def of_user(cls, authfile: Path | None = None) -> "CredentialStore":
        """Return the store of the user who runs this process."""
        return cls(dict(os.environ), Path.home(), authfile, os.getuid())

    # -- where ---------------------------------------------------------------------------------

    def files(self) -> list[Path]:
        """Return the files in the order of the search, whether they exist or not."""
        if (only := self._only()) is not None:
            return [only]
        found = []
        if runtime := self.environment.get("XDG_RUNTIME_DIR"):
            found.append(Path(runtime, "containers", "auth.json"))
        elif self.uid is not None:
            # Where podman keeps logins for a user without a session, root on a server mostly.
            found.append(Path(f"/run/containers/{self.uid}/auth.json"))
        config = self.environment.get("XDG_CONFIG_HOME")
        found.append(Path(config or self.home / ".config", "containers", "auth.json"))
        found.append(self._docker_file())
        return found

    def default_file(self) -> Path:
        """Return the file that :meth:`save` writes to."""
        return self._only() or self._docker_file()

    def _only(self) -> Path | None:
        if self.authfile is not None:
            return self.authfile
        named = self.environment.get("REGISTRY_AUTH_FILE")
        return Path(named) if named else None

    def _docker_file(self) -> Path:
        folder = self.environment.get("DOCKER_CONFIG")
        return Path(folder or self.home / ".docker", "config.json")

    # -- finding -------------------------------------------------------------------------------

    def find(self, host: str, repository: RepoName | None = None) -> Credentials | None:
        """Return the login for ``host``, or None if no file has one.

        The longest key wins: ``host/team/app``, ``host/team``, ``host``. Raises
        :class:`~jettison.errors.ConfigurationError` for a file that cannot be read or is
        malformed, an ``--authfile`` that does not exist, and a helper that fails.
        """
        if self.authfile is not None and not self.authfile.exists():
            message = f"there is no credentials file {self.authfile}"
            raise ConfigurationError(message, hint="Check --authfile.")
        host = _normal(host)
        for path in self.files():
            if (document := _load(path)) is None:
                continue
            if found := self._find_in(path, document, host, repository):
                return found
        return None

    def _find_in(
        self, path: Path, document: dict[str, Any], host: str, repository: RepoName | None
    ) -> Credentials | None:
        helpers = _table(path, document, "credHelpers")
        auths = _table(path, document, "auths")
        for key in _keys(host, repository):
            if helper := helpers.get(key):
                found = self._helper(path, helper).get(_server(key))
                if found is not None:
                    return found
            if key == host and (helper := document.get("credsStore")):
                found = self._helper(path, helper).get(_server(host))
                if found is not None:
                    return found
            for name, entry in auths.items():
                if _normal(name) == key and (found := _entry(path, name, entry)):
                    return found
        return None

    # -- changing ------------------------------------------------------------------------------

    def save(self, host: str, credentials: Credentials) -> str:
        """Keep a login for ``host`` and return where: the file, or the helper's name.

        The file is replaced as a whole, readable by its owner only, and keeps its other content. A
        helper configured there keeps the secret instead.
        """
        if ":" in credentials.username:
            message = "a user name cannot have a colon in it"
            raise UsageError(message, hint="HTTP's Basic login puts one behind the name.")
        host = _normal(host)
        path = self.default_file()
        document = _load(path) or {}
        auths = _table(path, document, "auths")
        names = [name for name in auths if _normal(name) == host]
        helper = _table(path, document, "credHelpers").get(host) or document.get("credsStore")
        if helper:
            program = self._helper(path, helper)
            program.store(_server(host), credentials)
            if names:
                _write(path, _without(document, names))
            return program.name
        entry: dict[str, str] = {}
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token
        pair = f"{credentials.username}:{credentials.secret}".encode()
        entry["auth"] = base64.b64encode(pair).decode()
        document = _without(document, names)
        document["auths"] = {**document.get("auths", {}), _server(host): entry}
        _write(path, document)
        return str(path)

    def erase(self, host: str) -> list[str]:
        """Forget the login for ``host`` everywhere and return where it was: files and helpers."""
        host = _normal(host)
        erased = []
        for path in self.files():
            if (document := _load(path)) is None:
                continue
            helpers = {
                _table(path, document, "credHelpers").get(host),
                document.get("credsStore"),
            } - {None, ""}
            for helper in sorted(helpers, key=str):
                program = self._helper(path, helper)
                if program.get(_server(host)) is not None:
                    program.erase(_server(host))
                    erased.append(program.name)
            names = [n for n in _table(path, document, "auths") if _normal(n) == host]
            if names:
                _write(path, _without(document, names))
                erased.append(str(path))
        return erased

    def _helper(self, path: Path, name: object) -> "_Helper":
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            message = f"{path} names an invalid credential helper"
            raise ConfigurationError(message, hint="Check credHelpers and credsStore there.")
        return _Helper(f"docker-credential-{name}", path, self.environment)


# -- keys --------------------------------------------------------------------------------------


def _keys(host: str, repository: RepoName | None) -> Iterator[str]:
    """Yield ``host/a/b``, ``host/a``, ``host``."""
    parts = repository.split("/") if repository else []
    for length in range(len(parts), 0, -1):
        yield "/".join([host, *parts[:length]])
    yield host


def _normal(key: str) -> str:
    """Bring a key to ``host[/namespace]``.

    Old Docker wrote addresses, ``https://host/v1/``. With a scheme, the path has no meaning.
    """
    bare = re.sub(r"^https?://", "", key)
    host, _, rest = bare.partition("/")
    rest = rest.strip("/")
    if bare != key or rest in {"v1", "v2"}:
        rest = ""
    if host in HUB:
        host = "docker.io"
    return f"{host}/{rest}" if rest else host


def _server(host: str) -> str:
    """Return the key under which other clients keep this host's login."""
    return _HUB_KEY if host in HUB else host


def _entry(path: Path, name: str, entry: object) -> Credentials | None:
    """Read an entry of ``auths``; an empty one means that a helper has the secret."""
    bad = ConfigurationError(
        f"{path} has a malformed entry for {_normal(name)}",
        hint=f"Log in again: jettison login {_normal(name)}",
    )
    if not isinstance(entry, dict):
        raise bad
    fields = {}
    for key in ("auth", "username", "password", "identitytoken"):
        value = entry.get(key) or ""
        if not isinstance(value, str):
            raise bad
        fields[key] = value
    username, password = fields["username"], fields["password"]
    if fields["auth"]:
        try:
            pair = base64.b64decode(fields["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise bad from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise bad
        password = password.rstrip("\0")
    if not (username or fields["identitytoken"]):
        return None
    return Credentials(username, password, fields["identitytoken"])


# -- files -------------------------------------------------------------------------------------


def _load(path: Path) -> dict[str, Any] | None:
    """Read a file, or return None if it does not exist; an empty one counts as ``{}``."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        message = f"cannot read the credentials file {path}: {(error.strerror or '').lower()}"
        raise ConfigurationError(message) from None
    try:
        document = strict_json.decode(raw, object) if raw.strip() else {}
    except InvalidDocument:
        document = None
    if not isinstance(document, dict):
        message = f"{path} is not a credentials file: it is not a JSON object"
        raise ConfigurationError(message, hint="Repair it, or move it away and log in again.")
    return document


def _table(path: Path, document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"{path} is not a credentials file: {key} is not a JSON object"
        raise ConfigurationError(message, hint="Repair it, or move it away and log in again.")
    return value


def _without(document: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the document without those entries of ``auths``."""
    auths = {key: value for key, value in (document.get("auths") or {}).items() if key not in names}
    return {**document, "auths": auths}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a file as a whole, mode 0600; a link is followed to the file it names."""
    try:
        target = path.resolve()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes it 0600 from the start.
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent="\t", ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        message = f"cannot write the credentials file {path}: {(error.strerror or '').lower()}"
        raise ConfigurationError(message) from None


# -- helpers -----------------------------------------------------------------------------------


class _Answer(msgspec.Struct):
    """A helper's answer."""

    username: str = msgspec.field(name="Username")
    secret: str = msgspec.field(name="Secret")


@dataclass(frozen=True, slots=True)
class _Helper:
    """A ``docker-credential-*`` program: one word as argument, the rest on stdin, JSON back."""

    name: str
    path: Path
    environment: Mapping[str, str] = field(repr=False)

    def get(self, server: str) -> Credentials | None:
        done = self._run("get", server)
        if done.returncode:
            # The protocol has no code for "none there", only this text.
            if "credentials not found" in (done.stdout + done.stderr).lower():
                return None
            raise self._failed("get")
        try:
            answer = strict_json.decode(done.stdout.encode(), _Answer)
        except InvalidDocument:
            raise self._failed("get") from None
        if not answer.secret:
            return None
        if answer.username == "<token>":
            return Credentials("", identity_token=answer.secret)
        return Credentials(answer.username, answer.secret)

    def store(self, server: str, credentials: Credentials) -> None:
        body = {
            "ServerURL": server,
            "Username": "<token>" if credentials.identity_token else credentials.username,
            "Secret": credentials.identity_token or credentials.secret,
        }
        if self._run("store", json.dumps(body)).returncode:
            raise self._failed("store")

    def erase(self, server: str) -> None:
        if self._run("erase", server).returncode:
            raise self._failed("erase")

    def _run(self, action: str, text: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which(self.name, path=self.environment.get("PATH", os.defpath))
        if program is None:
            message = (
                f"{self.path} says that {self.name} has the login, and there is no such program"
            )
            hint = "Install it, or take it out of credHelpers or credsStore in that file."
            raise ConfigurationError(message, hint=hint)
        try:
            return subprocess.run(  # noqa: S603 - the helper that the user's file names
                [program, action],
                input=text,
                env=dict(self.environment),
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=_HELPER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            message = f"{self.name} does not answer within {_HELPER_SECONDS:.0f} seconds"
            raise ConfigurationError(message, hint="Is it waiting to be unlocked?") from None
        except OSError as error:
            message = f"cannot run {self.name}: {(error.strerror or '').lower()}"
            raise ConfigurationError(message) from None

    def _failed(self, action: str) -> ConfigurationError:
        # Its output is not quoted: there may be a secret in it.
        message = f"{self.name} failed at {action!r}"
        hint = f"Try it by hand: echo HOST | {self.name} {action}"
        return ConfigurationError(message, hint=hint)
