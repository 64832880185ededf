"""``jettison garbage-collect``: Distribution's command of that name, line for line.

Standard output is that of docker-registry 2.8.2, down to the space after a manifest's digest; its
log on stderr comes in its form. docs/garbage-collect.md has the differences.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from jettison.cli.collection import not_all
from jettison.cli.options import (
    AllowEmpty,
    AllowForeignOwner,
    AssumeQuiescent,
    Grace,
    MaxRemoval,
    timestamp,
)
from jettison.cli.output import ago, counted, note, size_exactly, write
from jettison.cli.progress import reporting
from jettison.errors import UsageError
from jettison.model.printable import ascii_json, printable

if TYPE_CHECKING:
    from jettison.collector.mark_log import RepositoryMarks
    from jettison.collector.plan import CollectionPlan
    from jettison.collector.sweep import CollectionReceipt
    from jettison.jobs.collect import CollectionJob
    from jettison.model.digest import BinaryDigest
    from jettison.storage.protocol import Storage

__all__ = [
    "COMMAND_CLASS",
    "EXAMPLE",
    "eligible_lines",
    "garbage_collect",
    "log_line",
    "marking_lines",
    "plain_flags",
]

EXAMPLE = (
    "Example: jettison garbage-collect /etc/docker/registry/config.yml --dry-run · "
    "jettison garbage-collect --delete-untagged=true /etc/docker/registry/config.yml"
)

_VARIABLE: Final = "REGISTRY_CONFIGURATION_PATH"
_FLAGS: Final = {"d": "--dry-run", "m": "--delete-untagged", "q": "--quiet"}
_LONG: Final = re.compile(rf"({'|'.join(_FLAGS.values())})(?:=(\w+))?")
_SHORT: Final = re.compile(rf"-([{''.join(_FLAGS)}]+)(?:=(\w+))?")
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_LEVELS: Final = ("error", "warn", "info", "debug")
_SPELLED: Final = {"warn": "warning"}


def plain_flags(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with Go's forms of flags made plain.

    ``--delete-untagged=true`` and ``-m=1`` turn a flag on, ``=false`` turns it off again, and the
    last one counts. The parser reports what is not understood.
    """
    plain: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*plain, *arguments[place:]]
        if found := _LONG.fullmatch(argument):
            names = [found[1]]
        elif found := _SHORT.fullmatch(argument):
            names = [_FLAGS[letter] for letter in found[1]]
        if found is None or found[2] not in {None, *_TRUE, *_FALSE}:
            plain.append(argument)
            continue
        plain += names
        if found[2] in _FALSE:
            plain = [one for one in plain if one != names[-1]]
    return plain


class _PflagCommand(TyperCommand):
    """A command whose flags may be written as in Go: ``--delete-untagged=true``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own click
        """Parse the arguments."""
        return super().parse_args(ctx, plain_flags(args))


COMMAND_CLASS = _PflagCommand


def garbage_collect(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help=f"The registry's configuration file. Default: ${_VARIABLE}.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-d", help="Print the same, and remove nothing.")
    ] = False,
    delete_untagged: Annotated[
        bool,
        typer.Option(
            "--delete-untagged",
            "-m",
            help="Also remove manifests that no tag, index or subject holds.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing to standard output.")
    ] = False,
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    allow_empty: AllowEmpty = False,
    allow_foreign_owner: AllowForeignOwner = False,
    max_removal: MaxRemoval = "50%",  # type: ignore[assignment] # parsed by the option
) -> None:
    """Collect garbage with the flags and the output of Distribution's own command.

    In a job that calls `registry garbage-collect` or `docker-registry garbage-collect`, change only
    the program's name. The command asks nothing, and keeps the promises of `jettison gc`: only idle
    content goes, undo windows are honoured, what cannot be read protects what it may need (exit
    code 3), and an implausible collection is refused (exit code 4). Options without a short name
    are Jettison's own.
    """
    from jettison import open_storage
    from jettison.collector.options import CollectOptions
    from jettison.model.digest_set import DigestSet
    from jettison.model.plausibility import Consent

    target = config or os.environ.get(_VARIABLE)
    if not target:
        raise UsageError("no configuration is named", hint=f"Give its path, or set {_VARIABLE}.")
    session = open_storage(target)
    configuration = session.workspace.configuration
    log = _Log("info" if configuration is None else configuration.log.level, time.time_ns)
    marked = DigestSet()

    def tell(name: str, trace: "RepositoryMarks") -> None:
        marked.add_all(_marked(trace))
        if lines := list(marking_lines(name, trace)):
            write(*lines)

    options = CollectOptions(grace=grace, untagged=0.0 if delete_untagged else None)
    consent = Consent(empty=allow_empty, foreign_owner=allow_foreign_owner, most=max_removal)
    job = session.collection(options, consent=consent)
    job.require_quiescent(assumed=assume_quiescent)
    if not dry_run:
        job.recover()
    # A bar and the lines would write into each other on one terminal.
    with reporting(wanted=quiet or not sys.stdout.isatty()) as progress:
        plan = job.plan(progress=progress, tracing=None if quiet else tell)
    if not quiet:
        write(*eligible_lines(plan, len(marked)))
    for remark in _remarks(plan):
        log("info", remark)
    log("info", *(one.text for one in plan.foreign))
    job.require_plausible(plan)
    problems, failures = plan.problems, 0
    if not dry_run:
        receipt = _carry_out(job, plan, target, log)
        problems, failures = receipt.problems, receipt.failures
    log("error", *(problem.text for problem in problems))
    if problems or failures:
        raise not_all(0 if failures else len(problems), failures, dry_run=dry_run)


def _carry_out(
    job: "CollectionJob", plan: "CollectionPlan", target: str, log: "_Log"
) -> "CollectionReceipt":
    with reporting() as progress:
        done = job.apply(plan, ("garbage-collect", target), progress=progress)
    log("info", *_removals(job.storage, plan, done.receipt))
    log("info", _freed(done.receipt))
    cache = None if job.configuration is None else job.configuration.storage.cache
    if cache == "inmemory" and done.receipt.blobs.count:
        log(
            "warn",
            f"the registry remembers blobs ({cache}); restart it, else pushes may skip blobs "
            "that are gone now",
        )
    return done.receipt


# What is printed.


def marking_lines(name: str, trace: "RepositoryMarks") -> Iterator[str]:
    """Yield the lines about one repository, its manifests in the order of their digests."""
    shown = printable(name)
    if not (trace.has_layers or trace.marked or trace.going or trace.protected):
        return  # an upload alone makes no repository for Distribution
    yield shown
    kept = [(digest, targets) for digest, targets in trace.marked]
    for digest, targets in sorted([*kept, *((digest, None) for digest in trace.going)], key=_first):
        if targets is None:
            yield f"manifest eligible for deletion: {_text(digest)}"
            continue
        # Distribution prints a space at the end of this line, and of no other.
        yield f"{shown}: marking manifest {_text(digest)} "
        for target in targets:
            yield f"{shown}: marking blob {_text(target)}"
    for digest in trace.protected:
        yield f"{shown}: marking blob {_text(digest)}"


def eligible_lines(plan: "CollectionPlan", marked: int) -> Iterator[str]:
    """Yield the lines after the last repository; ``marked`` counts different digests."""
    yield ""
    yield (
        f"{marked} blobs marked, {len(plan.blobs)} blobs and {len(plan.revisions)} manifests "
        "eligible for deletion"
    )
    for blob in plan.blobs:
        yield f"blob eligible for deletion: {blob.digest}"


def log_line(level: str, message: str, now_ns: int) -> str:
    """Return a line as Distribution's default formatter writes it; ``now_ns`` since the epoch."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return (
        f'time="{moment}{fraction}Z" level={_SPELLED.get(level, level)} msg={ascii_json(message)}'
    )


class _Log:
    """Writes messages to stderr from the configuration's ``log.level`` on."""

    def __init__(self, least: str, clock_ns: Callable[[], int]) -> None:
        self._least = _LEVELS.index(least)
        self._clock_ns = clock_ns

    def __call__(self, level: str, *messages: str) -> None:
        if messages and _LEVELS.index(level) <= self._least:
            now = self._clock_ns()
            note(*(log_line(level, message, now) for message in messages))


def _first(entry: tuple[bytes, object]) -> bytes:
    return entry[0]


def _text(digest: bytes) -> str:
    return f"sha{8 * len(digest)}:{digest.hex()}"


def _marked(trace: "RepositoryMarks") -> "Iterator[BinaryDigest]":
    for manifest, targets in trace.marked:
        yield manifest
        yield from targets
    yield from trace.protected


def _remarks(plan: "CollectionPlan") -> Iterator[str]:
    """Yield remarks about unneeded content that stays, which Distribution does not have."""
    from jettison.collector.undo_windows import FOREVER

    if plan.young.count:
        text = f"{counted(plan.young.count, 'blob')}, {size_exactly(plan.young.bytes)}"
        yield f"kept {text}: younger than the grace period of {ago(plan.options.grace)}"
    for held in plan.held:
        text = f"{counted(held.count, 'blob')}, {size_exactly(held.bytes)}"
        until = "" if held.until >= FOREVER else f" until {timestamp(held.until)}"
        yield f"kept {text}: held{until} for an undo of run {held.run}"


def _removals(
    storage: "Storage", plan: "CollectionPlan", receipt: "CollectionReceipt"
) -> Iterator[str]:
    """Yield Distribution's log lines of removals, checking them if less went than planned."""
    from jettison.storage.protocol import LinkKind

    at = storage.places
    history = [at.history_link(one.repository, one.tag, one.digest) for one in plan.history]
    links = [at.link(LinkKind.REVISION, one.repository, one.digest) for one in plan.revisions]
    for text, kind, places in (
        ("deleting manifest tag reference", "history", history),
        ("deleting manifest", "revisions", links),
        ("Deleting blob", "blobs", [at.blob(blob.digest) for blob in plan.blobs]),
    ):
        complete = receipt.removed[kind].count == len(places)
        for place in places:
            if complete or not storage.exists(place):
                yield f"{text}: /{place.rpartition('/')[0]}"


def _freed(receipt: "CollectionReceipt") -> str:
    links = counted(receipt.layer_links.count, "layer link")
    return f"freed {size_exactly(receipt.blobs.bytes)}; {links} that nothing uses removed"
