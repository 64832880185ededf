"""``jettison login`` and ``jettison logout``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import Connection, ask, run, with_connection
from jettison.cli.output import note
from jettison.errors import UsageError

if TYPE_CHECKING:
    from jettison.client import Credentials

__all__ = ["LOGIN_EXAMPLE", "LOGOUT_EXAMPLE", "login", "logout"]

LOGIN_EXAMPLE = (
    "Example: jettison login registry.example.com -u alice --password-stdin < password.txt"
)
LOGOUT_EXAMPLE = "Example: jettison logout registry.example.com"


@with_connection
def login(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The registry.")],
    username: Annotated[str | None, typer.Option("--username", "-u", help="The user name.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    *,
    connection: Connection,
) -> None:
    """Check a login, and keep it where Docker keeps its own, or in --authfile."""
    import getpass

    from jettison.client import Credentials, CredentialStore
    from jettison.model.names import Location

    location = Location.parse(host)
    if not sys.stdin.isatty() and not password_stdin:
        raise UsageError("no terminal to ask for a password", hint="Use --password-stdin.")
    if username is None:
        if password_stdin:
            raise UsageError("--password-stdin needs --username")
        username = ask("Username:").strip()
    password = sys.stdin.read().rstrip("\r\n") if password_stdin else getpass.getpass()
    if not username or not password:
        raise UsageError("the user name and the password must not be empty")
    credentials = Credentials(username, password)
    asked = run(_check(location.host, credentials, connection))
    if not asked:
        note(f"{location.host} does not ask for a login; kept all the same.")
    where = CredentialStore.of_user(connection.authfile).save(location.host, credentials)
    note(f"Logged in to {location.host}; the login is in {where}.")


async def _check(host: str, credentials: "Credentials", connection: Connection) -> bool:
    async with connection.open(host, credentials) as registry:
        return await registry.ping() != "none"


def logout(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The registry.")],
    authfile: Annotated[
        Path | None,
        typer.Option(
            "--authfile",
            metavar="FILE",
            help="Credentials file. Default: those of Docker and Podman.",
        ),
    ] = None,
) -> None:
    """Forget the login for a registry in every file and helper that has it."""
    from jettison.client import CredentialStore
    from jettison.model.names import Location

    location = Location.parse(host)
    files = CredentialStore.of_user(authfile).erase(location.host)
    if not files:
        note(f"There is no login for {location.host}.")
    for file in files:
        note(f"Removed the login for {location.host} from {file}.")
