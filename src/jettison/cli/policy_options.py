"""Options that are a retention policy, and the targets that one is applied to."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

from jettison.cli.options import is_path
from jettison.errors import InvalidPolicy, UsageError

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern
    from jettison.model.retention.policy import Clock, Policy

__all__ = [
    "PolicyFile",
    "PolicyFlags",
    "Target",
    "check_options",
    "find_target",
    "read_option",
    "read_patterns",
]

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
    typer.Option(
        "--clock",
        metavar="CLOCK",
        help="The time that counts: auto, pushed, uploaded, tagged, created.",
    ),
]
TimeZone = Annotated[
    str, typer.Option("--time-zone", metavar="ZONE", help="Where days and weeks begin.")
]


def _count(name: str, text: str, panel: str = KEEP) -> object:
    return typer.Option(name, metavar="N", min=1, max=1_000_000, help=text, rich_help_panel=panel)


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
        from jettison.model.retention.patterns import Grouping, Pattern
        from jettison.model.retention.period import Period
        from jettison.model.retention.policy import (
            Keep,
            Policy,
            Protect,
            Remove,
            Rule,
            State,
        )

        def period(option: str, text: str | None) -> Period | None:
            return None if text is None else read_option(option, Period, text)

        keep = Keep(
            last=self.last,
            within=period("--keep-within", self.within),
            hourly=self.hourly,
            daily=self.daily,
            weekly=self.weekly,
            monthly=self.monthly,
            yearly=self.yearly,
            pulled_within=period("--keep-pulled-within", self.pulled_within),
        )
        self._require_one_count()
        remove = Remove(
            older_than=period("--older-than", self.older_than),
            beyond=self.beyond,
            and_beyond=self.and_beyond,
            or_beyond=self.or_beyond,
            not_pulled_within=period("--not-pulled-within", self.not_pulled_within),
        )
        rules: list[Rule] = []
        if keep != Keep() or remove != Remove():
            rules.append(
                Rule(
                    tags=read_patterns("--match", self.match) or (Pattern("*"),),
                    except_tags=read_patterns("--except", self.but),
                    group_by=None
                    if self.group_by is None
                    else read_option("--group-by", Grouping, self.group_by),
                    clock=_read_clock(self.clock),
                    keep=None if keep == Keep() else keep,
                    remove="rest" if remove == Remove() else remove,
                )
            )
        else:
            self._require_no_set()
        for state, option, text in (
            (State.UNTAGGED, "--untagged", self.untagged),
            (State.ORPHANED, "--orphans", self.orphans),
        ):
            if text is not None:
                older = Remove(older_than=read_option(option, Period, text))
                rules.append(Rule(state=state, remove=older))
        policy = Policy(
            rules=tuple(rules),
            protect=Protect(tags=read_patterns("--keep-tag", self.keep_tag)),
            time_zone=self.time_zone,
        )
        check_options(policy)
        return policy

    def _require_one_count(self) -> None:
        """Raise for an age and counts that have no meaning together."""
        counts = {"--beyond": self.beyond, "--and-beyond": self.and_beyond}
        counts["--or-beyond"] = self.or_beyond
        given = [option for option, count in counts.items() if count is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other")
        if given == ["--beyond"] and self.older_than is not None:
            raise UsageError(
                "--older-than and --beyond may mean that both have to hold, or either",
                hint="Write --and-beyond (old and beyond N), or --or-beyond (either).",
            )
        if given and given != ["--beyond"] and self.older_than is None:
            raise UsageError(f"{given[0]} goes with --older-than", hint="Alone it is --beyond.")

    def _require_no_set(self) -> None:
        """Raise for options that are about a rule which is not there."""
        settings = {"--match": self.match, "--except": self.but, "--group-by": self.group_by}
        settings["--clock"] = None if self.clock == "auto" else self.clock
        given = [option for option, value in settings.items() if value]
        if given:
            raise UsageError(
                f"{' and '.join(given)}: no option says what of that is kept, or what goes",
                hint="Add for example --keep-last 10, or --older-than 30d.",
            )


_Read = TypeVar("_Read")


def read_option(option: str, kind: Callable[[str], _Read], text: str) -> _Read:
    """Return the value of an option; an error names it."""
    try:
        return kind(text)
    except InvalidPolicy as error:
        raise InvalidPolicy(f"{option}: {error.message}", hint=error.hint) from None


def read_patterns(option: str, texts: Iterable[str] | None) -> "tuple[Pattern, ...]":
    """Return the patterns of an option; an error names it."""
    from jettison.model.retention.patterns import Pattern

    return tuple(read_option(option, Pattern, text) for text in texts or ())


def _read_clock(text: str) -> "Clock":
    from jettison.model.retention.policy import Clock

    known = [one for one in Clock if one is not Clock.UNTAGGED]
    if text not in known:
        raise UsageError(f"--clock: {text!r} is none of {', '.join(known)}")
    return Clock(text)


def check_options(policy: "Policy") -> None:
    """Raise :class:`~jettison.errors.InvalidPolicy` for a policy of options that cannot be meant.

    The error names the option.
    """
    from jettison.model.retention.mistakes import find_mistakes

    for steps, message in find_mistakes(policy):
        option = _option_of(steps, policy)
        told = message.replace("remove: all", "write a policy file with `remove: all`")
        raise InvalidPolicy(f"{option}: {told}" if option else told)


def _option_of(steps: tuple[str | int, ...], policy: "Policy") -> str:
    """Return the option that makes a key of a policy."""
    if steps[0] == "protect":
        return "--keep-tag"
    number = steps[1] if len(steps) > 1 else None
    if not isinstance(number, int):
        return "--" + str(steps[0]).replace("_", "-")
    state = policy.rules[number].state
    if state != "tagged":
        return "--untagged" if state == "untagged" else "--orphans"
    keys = [step for step in steps[2:] if isinstance(step, str)]
    if keys[:1] == ["keep"]:
        keys = ["-".join(keys)]
    names = {"tags": "--match", "except_tags": "--except", "remove": ""}
    return names.get(keys[-1], "--" + keys[-1].replace("_", "-")) if keys else ""


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
    if is_path(text):
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
