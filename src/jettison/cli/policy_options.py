"""Options that are a retention policy, and the targets that one is applied to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from jettison.errors import InvalidDocument, InvalidPolicy, UsageError

if TYPE_CHECKING:
    from jettison.model.retention.policy import Policy

__all__ = ["PolicyFile", "PolicyFlags", "Target", "find_target"]

KEEP = "What is kept"
_REMOVE = "What is removed"

PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="A policy, see docs/retention.md."),
]
Match = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        metavar="PATTERN",
        help="The tags that the rule is about, all by default: a glob, re:EXPRESSION or "
        "semver:RANGE. May be repeated.",
    ),
]
Except = Annotated[
    list[str] | None,
    typer.Option("--except", metavar="PATTERN", help="But not these tags. May be repeated."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="re:EXPRESSION",
        help="Count for each part that the expression captures, such as 're:(.+)-[0-9a-f]{7}'.",
    ),
]
ClockOption = Annotated[
    str,
    typer.Option("--clock", metavar="CLOCK", help="The time that counts: auto, pushed, created."),
]
TimeZone = Annotated[
    str, typer.Option("--time-zone", metavar="ZONE", help="Where days and weeks begin.")
]


def _count(name: str, text: str, panel: str = KEEP) -> object:
    return typer.Option(name, metavar="N", min=1, help=text, rich_help_panel=panel)


def _period(name: str, text: str, panel: str) -> object:
    return typer.Option(name, metavar="PERIOD", help=text, rich_help_panel=panel)


Last = Annotated[int | None, _count("--keep-last", "The newest N images.")]
Within = Annotated[str | None, _period("--keep-within", "What is not older.", KEEP)]
Hourly = Annotated[int | None, _count("--keep-hourly", "The newest of the last N hours.")]
Daily = Annotated[int | None, _count("--keep-daily", "The newest of the last N days.")]
Weekly = Annotated[int | None, _count("--keep-weekly", "The newest of the last N weeks.")]
Monthly = Annotated[int | None, _count("--keep-monthly", "The newest of the last N months.")]
Yearly = Annotated[int | None, _count("--keep-yearly", "The newest of the last N years.")]
PulledWithin = Annotated[
    str | None, _period("--keep-pulled-within", "What was pulled, or may have been.", KEEP)
]
KeepTag = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-tag",
        metavar="PATTERN",
        help="Tags that nothing removes. May be repeated.",
        rich_help_panel=KEEP,
    ),
]
OlderThan = Annotated[str | None, _period("--older-than", "What is older.", _REMOVE)]
Beyond = Annotated[int | None, _count("--beyond", "What is not of the newest N.", _REMOVE)]
AndBeyond = Annotated[
    int | None,
    _count("--and-beyond", "With --older-than: old, and not of the newest N.", _REMOVE),
]
OrBeyond = Annotated[
    int | None,
    _count("--or-beyond", "With --older-than: old, or not of the newest N.", _REMOVE),
]
NotPulledWithin = Annotated[
    str | None,
    _period("--not-pulled-within", "What was not pulled for so long, if pulls are known.", _REMOVE),
]
Untagged = Annotated[
    str | None,
    _period("--untagged", "Images that have had no tag for longer than this.", _REMOVE),
]
Orphans = Annotated[
    str | None,
    _period("--orphans", "Signatures and the like, older than this, of images gone.", _REMOVE),
]


class PolicyFlags(NamedTuple):
    """A policy as options; each None if it is not given."""

    match: list[str] | None = None
    but: list[str] | None = None
    group_by: str | None = None
    clock: str = "auto"
    time_zone: str = "UTC"
    last: int | None = None
    within: str | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    pulled_within: str | None = None
    keep_tag: list[str] | None = None
    older_than: str | None = None
    beyond: int | None = None
    and_beyond: int | None = None
    or_beyond: int | None = None
    not_pulled_within: str | None = None
    untagged: str | None = None
    orphans: str | None = None

    @property
    def say_rules(self) -> bool:
        """Whether any option is given that a policy file would have."""
        return self._replace(keep_tag=None) != PolicyFlags()

    def policy(self) -> "Policy":
        """Return the policy; raise :class:`~jettison.errors.InvalidPolicy` for an impossible one.

        What the rule names and no ``--keep-…`` keeps is removed, if no option says more exactly
        what is.
        """
        from jettison.configuration.policy_file import check_policy
        from jettison.model import codec
        from jettison.model.retention.policy import Policy

        keep = _given(
            last=self.last,
            within=self.within,
            hourly=self.hourly,
            daily=self.daily,
            weekly=self.weekly,
            monthly=self.monthly,
            yearly=self.yearly,
            pulled_within=self.pulled_within,
        )
        remove = _given(
            older_than=self.older_than,
            beyond=self.beyond,
            and_beyond=self.and_beyond,
            or_beyond=self.or_beyond,
            not_pulled_within=self.not_pulled_within,
        )
        rules: list[dict[str, object]] = []
        if keep or remove:
            tags = {"tags": self.match or ["*"], "except_tags": self.but, "group_by": self.group_by}
            rule = _given(**tags, clock=self.clock, keep=keep or None, remove=remove or "rest")
            rules.append(rule)
        elif self.match or self.but or self.group_by:
            raise UsageError(
                "--match alone says neither what is kept nor what goes",
                hint="Add for example --keep-last 10, or --older-than 30d.",
            )
        for state, period in (("untagged", self.untagged), ("orphaned", self.orphans)):
            if period is not None:
                rules.append({"state": state, "remove": {"older_than": period}})
        document = {
            "rules": rules,
            "protect": {"tags": self.keep_tag or []},
            "time_zone": self.time_zone,
        }
        try:
            policy: Policy = codec.convert(document, Policy)
        except InvalidDocument as error:
            raise InvalidPolicy(str(error).partition(" - at ")[0]) from None
        check_policy(policy)
        return policy


def _given(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


class Target(NamedTuple):
    """What a policy is applied to: a host, or a storage alone; and patterns of repositories."""

    host: str | None
    storage: str | None
    repositories: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = self.host or self.storage or ""
        return "/".join([place, *self.repositories[:1]]) if self.host else place


def find_target(text: str, storage: str | None = None) -> Target:
    """Return what ``HOST``, ``HOST/GLOB``, ``DIR`` or ``CONFIG`` means."""
    path = Path(text)
    local = path.exists() or text.startswith(("/", "./", "../"))
    local = local or ("/" not in text and path.suffix in {".yml", ".yaml"})
    if local:
        if storage is not None and os.path.realpath(storage) != os.path.realpath(text):
            raise UsageError(f"{text} and --storage {storage} are two storages; give one")
        return Target(None, text)
    from jettison.model.names import Location

    host, slash, glob = text.partition("/")
    if "://" in text:
        return Target(Location.parse(text).host, storage)  # which tells what is wrong
    host = Location.parse(host).host
    if ":" in glob or "@" in glob:
        repository, _, tag = glob.partition(":")
        hint = f"jettison prune {host}/{repository} --match '{tag}'"
        raise UsageError(f"{text} names an image; a policy is about repositories", hint=hint)
    return Target(host, storage, (glob,) if slash and glob else ())
