"""Options that several commands share, and the objects made from them."""

import functools
import inspect
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand

from jettison.api.connection import Connection
from jettison.cli.output import Format, note, prompt, stdout_ended, timestamp
from jettison.errors import Declined, Interrupted, NotQuiescent, Refused, UsageError

if TYPE_CHECKING:
    from jettison.jobs.discover import Extent
    from jettison.storage.journal import Journal

__all__ = [
    "AllowEmpty",
    "AllowForeignOwner",
    "AssumeQuiescent",
    "Connection",
    "DryRun",
    "Exact",
    "Grace",
    "MaxRemoval",
    "Output",
    "Quick",
    "Storage",
    "Yes",
    "ask",
    "confirm",
    "connection_arguments",
    "extent_of",
    "is_path",
    "looks_like_path",
    "one_of",
    "optional_values",
    "parse_duration",
    "parse_share",
    "run",
    "timestamp",
    "user_journal",
    "with_connection",
]

Result = TypeVar("Result")

_ALL: Final = 100
_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def looks_like_path(text: str) -> bool:
    """Whether a text is written as a path, and not as a host, whether it is there or not.

    No host ends as a configuration does: one whose name is misspelt is told of as a file.
    """
    named = "/" not in text and Path(text).suffix in {".yml", ".yaml"}
    return named or text.startswith(("/", "./", "../"))


def is_path(text: str) -> bool:
    """Whether a text means a configuration or a storage, and not a host."""
    return Path(text).exists() or looks_like_path(text)


def parse_duration(text: str) -> float:
    """Return the seconds of ``90s``, ``30m``, ``1h``, ``7d``, ``2w`` or a sum such as ``1h30m``."""
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != text.strip().lower().replace(" ", ""):
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 30m, 1h, 7d or 1h30m")
    total = 0.0
    for number, unit in parts:
        if unit not in _UNITS and not (unit == "" and float(number) == 0):
            raise typer.BadParameter(f"{text!r} needs a unit: s, m, h, d or w")
        total += float(number) * _UNITS.get(unit, 0)
    return total


def parse_share(text: str) -> float:
    """Return the share, from 0 to 1, of a percentage: ``80%`` or ``80``."""
    number = text.strip().removesuffix("%")
    if not number.isdecimal() or not 0 <= int(number) <= _ALL:
        raise typer.BadParameter(f"{text!r} is no share; write a percentage, such as 80%")
    return int(number) / _ALL


def optional_values(defaults: Mapping[str, str]) -> type[TyperCommand]:
    """Return a class of command whose options named here may come without their duration.

    ``--untagged 30d`` and ``--untagged=30d`` have one; ``--untagged config.yml`` has none.
    """

    class Command(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own
            full = [_with_value(arg, following, defaults) for arg, following in _pairs(args)]
            return super().parse_args(ctx, full)

    return Command


def _pairs(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(args, [*args[1:], ""], strict=False)


def _with_value(arg: str, following: str, defaults: Mapping[str, str]) -> str:
    if arg not in defaults or following.isdecimal():  # a number without a unit is refused as such
        return arg
    try:
        parse_duration(following)
    except typer.BadParameter:
        return f"{arg}={defaults[arg]}"
    return arg


Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="How to print data: table, json or ndjson.",
        rich_help_panel="Output",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Print the plan and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Look only at the repositories named; bytes become upper bounds (≤).",
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Look at all repositories, however many. Without it and without --storage, "
        "only at those that have few tags.",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="CONFIG|DIR",
        help="The registry's storage: its configuration file, or its root directory.",
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        "--grace",
        parser=parse_duration,
        metavar="DURATION",
        help="Leave what was created or touched within this time.",
    ),
]
AssumeQuiescent = Annotated[
    bool,
    typer.Option(
        "--assume-quiescent",
        help="Do not check whether the registry is stopped or read-only: there are no pushes.",
    ),
]

_IMPLAUSIBLE: Final = "What looks wrong"
AllowEmpty = Annotated[
    bool,
    typer.Option(
        "--allow-empty",
        help="Allow a storage with blobs and no repositories, or with many repositories "
        "without manifests.",
        rich_help_panel=_IMPLAUSIBLE,
    ),
]
AllowForeignOwner = Annotated[
    bool,
    typer.Option(
        "--allow-foreign-owner",
        help="Allow a storage that another program owns (GitLab's database, Harbor), "
        "whatever that program knows.",
        rich_help_panel=_IMPLAUSIBLE,
    ),
]
MaxRemoval = Annotated[
    float,
    typer.Option(
        "--max-removal",
        parser=parse_share,
        metavar="PERCENT",
        help="Refuse to take more than this share of the blobs or of their bytes, not "
        "counting what rm removed. Storages below 50 blobs and 256 MiB are exempt.",
        rich_help_panel=_IMPLAUSIBLE,
    ),
]


_PANEL: Final = "Connection"
_CONNECTION: Final[dict[str, tuple[Any, Any]]] = {
    "plain_http": (
        Annotated[
            bool | None,
            typer.Option(
                "--plain-http/--tls",
                help="Without TLS, or with it. Default: without for loopback hosts only.",
                rich_help_panel=_PANEL,
                show_default=False,
            ),
        ],
        None,
    ),
    "insecure": (
        Annotated[
            bool,
            typer.Option(
                "--insecure", help="Do not verify the certificate.", rich_help_panel=_PANEL
            ),
        ],
        False,
    ),
    "ca_file": (
        Annotated[
            Path | None,
            typer.Option(
                "--ca-file",
                metavar="FILE",
                help="Trust the authorities in this PEM file.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "cert": (
        Annotated[
            Path | None,
            typer.Option(
                "--cert", metavar="FILE", help="Client certificate, PEM.", rich_help_panel=_PANEL
            ),
        ],
        None,
    ),
    "key": (
        Annotated[
            Path | None,
            typer.Option(
                "--key",
                metavar="FILE",
                help="Key of the client certificate.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "authfile": (
        Annotated[
            Path | None,
            typer.Option(
                "--authfile",
                metavar="FILE",
                help="Credentials file. Default: those of Docker and Podman.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "jobs": (
        Annotated[
            int,
            typer.Option(
                "--jobs",
                "-j",
                metavar="N",
                min=1,
                max=256,
                help="Requests at once.",
                rich_help_panel=_PANEL,
            ),
        ],
        8,
    ),
    "timeout": (
        Annotated[
            float,
            typer.Option(
                "--timeout",
                metavar="SECONDS",
                min=0.1,
                help="Seconds to wait for an answer.",
                rich_help_panel=_PANEL,
            ),
        ],
        30.0,
    ),
}


def connection_arguments(connection: Connection) -> tuple[str, ...]:
    """Return the options that make a connection as this one, for a command to paste."""
    plain = {None: (), True: ("--plain-http",), False: ("--tls",)}[connection.plain_http]
    insecure = ("--insecure",) if connection.insecure else ()
    files = {
        "--ca-file": connection.ca_file,
        "--cert": connection.cert,
        "--key": connection.key,
        "--authfile": connection.authfile,
    }
    named = [word for name, path in files.items() if path is not None for word in (name, str(path))]
    return (*plain, *insecure, *named)


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with a ``connection`` the options for it."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name != "connection"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _CONNECTION.items()
    ]

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on as they are
        connection = Connection(**{name: kwargs.pop(name) for name in _CONNECTION})
        command(*args, connection=connection, **kwargs)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def run(work: Coroutine[Any, Any, Result], *, changing: bool = False) -> Result:
    """Run a command's asynchronous part; Ctrl-C ends it after the present step.

    ``changing``: the journal has what was done by then, and the next step says so.
    """
    import asyncio
    import logging

    # What a task that nobody waits for any more raises is no message for a person.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        hint = "`jettison runs` tells what was done; the same command finishes it."
        raise Interrupted("interrupted", hint=hint if changing else None) from None


def user_journal() -> "Journal":
    """Return the journal in the user's state directory."""
    from jettison.api.journal import users_journal

    return users_journal()


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere ``--yes`` is required."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            "this needs a confirmation, and there is no terminal",
            hint="Say --yes.",
            again=("--yes",),
        )
    if stdout_ended():
        message = "this needs a confirmation, and what it is about could not be printed"
        raise Refused(message, hint="Look at where the output goes, or say --yes.")
    if ask(f"{question} [y/N]").strip().lower() not in {"y", "yes"}:
        raise Declined("declined; nothing was changed")


def ask(question: str) -> str:
    """Return the typed line, "" at the end of input; Ctrl-C raises :class:`Interrupted`."""
    # An event loop only notes Ctrl-C, and would see it when the line is there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        prompt(question)
        return sys.stdin.readline()
    except KeyboardInterrupt:
        note("")
        raise Interrupted("interrupted; nothing was changed") from None
    finally:
        signal.signal(signal.SIGINT, before)


def check_reclaim(
    *, reclaim: bool, storage: str | None, grace: float, assume_quiescent: bool
) -> None:
    """Raise for ``--reclaim`` without a storage, or with a grace that could break a push."""
    if not reclaim:
        return
    if storage is None:
        hint = "Add --storage CONFIG or --storage DIR."
        raise UsageError("--reclaim needs the registry's storage", hint=hint)
    if grace == 0 and not assume_quiescent:
        raise NotQuiescent(
            "--grace 0 on a registry that is serving could break a push that is going on",
            hint="Leave out --grace, or say that nobody pushes now:",
            again=("--assume-quiescent",),
        )


def extent_of(*, quick: bool, exact: bool) -> "Extent":
    """Return how far ``--quick`` and ``--exact`` let a command look."""
    from jettison.jobs.discover import Extent

    one_of("--quick", given=quick, second="--exact", also=exact)
    return Extent.NAMED if quick else Extent.ALL if exact else Extent.NEAR


def one_of(first: str, *, given: bool, second: str, also: bool) -> None:
    """Raise :class:`UsageError` if two options that exclude each other are both given."""
    if given and also:
        raise UsageError(f"{first} and {second} exclude each other")
