"""``jettison listen``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import one_of, parse_duration
from jettison.cli.output import note
from jettison.errors import UsageError

if TYPE_CHECKING:
    from jettison.configuration.settings import PullRecords
    from jettison.storage.pulls import PullBookFile

__all__ = ["EXAMPLE", "listen"]

EXAMPLE = (
    "Example: jettison listen --addr 127.0.0.1:5010 --book /var/lib/jettison/pulls.json · "
    "jettison listen --addr :5010 --secret-file /etc/jettison/secret --storage config.yml"
)


def listen(
    addr: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")],
    book: Annotated[
        Path | None,
        typer.Option(
            "--book",
            metavar="FILE",
            help="The book to keep, for `prune --pulls FILE`. Default: pulls.json in the "
            "state directory of Jettison.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="CONFIG|DIR",
            help="Keep the book in the registry's storage, where `prune` finds it.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="Accept only senders with Authorization: Bearer and the first line of this file.",
        ),
    ] = None,
    ignore_agent: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore-agent", metavar="PATTERN", help="Pulls of these user agents do not count."
        ),
    ] = None,
    ignore_user: Annotated[
        list[str] | None,
        typer.Option("--ignore-user", metavar="PATTERN", help="Pulls of these users do not count."),
    ] = None,
    silence: Annotated[
        float,
        typer.Option(
            "--silence",
            parser=parse_duration,
            metavar="DURATION",
            help="After so long without a word from a registry its pulls are not known, until it "
            "is heard again.",
        ),
    ] = "1h",  # type: ignore[assignment] # parsed by the option
    across_restarts: Annotated[
        bool,
        typer.Option(
            "--across-restarts",
            help="A registry that restarts loses no events; without it, pulls are known from "
            "its first word on.",
        ),
    ] = False,
) -> None:
    """Receive a registry's notifications, and keep a book of what is pulled and pushed.

    The book tells `prune` what was never pulled, apart from what is not known. Distribution sends
    notifications to each of `notifications.endpoints`.
    """
    from jettison.configuration import is_local
    from jettison.model.retention.pulls import Terms
    from jettison.server.listening import listen as listen_for

    one_of("--book", given=book is not None, second="--storage", also=storage is not None)
    if secret_file is None and not is_local(addr):
        hint = "Give --secret-file FILE, or --addr 127.0.0.1:PORT."
        raise UsageError(f"whoever reaches {addr} could write the book", hint=hint)
    where, settings = _book(book, storage)
    settings = _settings(settings, ignore_agent, ignore_user, across_restarts=across_restarts)
    terms = Terms(settings.across_restarts, silence)
    note(f"Keeping {where.location}; Ctrl-C ends it.")
    secret = None if secret_file is None else _secret(secret_file)
    listen_for(addr, where, terms, settings, secret, lambda url: note(f"Listening at {url}"))


def _book(book: Path | None, storage: str | None) -> "tuple[PullBookFile, PullRecords]":
    from jettison.configuration.settings import PullRecords
    from jettison.storage.journal import state_directory
    from jettison.storage.opening import open_storage
    from jettison.storage.pulls import book_at, book_of

    if storage is None:
        return book_at(book or state_directory(os.environ) / "pulls.json"), PullRecords()
    opened, configuration = open_storage(Path(storage), os.environ)
    return book_of(opened), PullRecords() if configuration is None else configuration.pulls


def _settings(
    settings: "PullRecords",
    agents: list[str] | None,
    users: list[str] | None,
    *,
    across_restarts: bool,
) -> "PullRecords":
    from jettison.configuration.settings import PullRecords
    from jettison.model.retention.patterns import Pattern

    return PullRecords(
        ignore_agents=(*settings.ignore_agents, *map(Pattern, agents or ())),
        ignore_users=(*settings.ignore_users, *map(Pattern, users or ())),
        across_restarts=settings.across_restarts or across_restarts,
    )


def _secret(path: Path) -> str:
    from jettison.errors import storage_errors

    with storage_errors("read", path):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or not lines[0].strip():
        raise UsageError(f"{path} holds no secret", hint="Write one into its first line.")
    return lines[0].strip()
