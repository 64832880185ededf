"""What can be read in a policy and cannot be meant: a rule without an effect, a pattern of nothing.

What is easily forgotten is a mistake, too: a rule about tags that names none.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal
from zoneinfo import ZoneInfo

from jettison.errors import InvalidPolicy
from jettison.model.retention.patterns import is_expression, is_range
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Policy, Remove, Rule, State

__all__ = ["find_mistakes", "is_time_zone", "require_meant"]

Steps = tuple[str | int, ...]
Names = Literal["tag", "repository", "type"]

_IMPOSSIBLE: Final[dict[Names, re.Pattern[str]]] = {
    "tag": re.compile(r"[^A-Za-z0-9._*?\[\]!^-]|(?<![\[*?\]])[!^]|^[.-]"),
    "repository": re.compile(r"[^a-z0-9._/*?\[\]!^-]|(?<!\[)[!^]|^[./-]"),
    "type": re.compile(r"[^A-Za-z0-9!#$&^_.+/*?\[\];= -]"),
}
"""Signs that no tag, repository or type has where a glob has them."""
_SPELLED: Final = {"tag": "tag", "repository": "repository", "type": "type of an artifact"}


def is_time_zone(name: str) -> bool:
    """Whether this machine knows a time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def find_mistakes(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Yield the mistakes of a policy, each with the keys that lead to it."""
    if not is_time_zone(policy.time_zone):
        told = policy.time_zone[:60]
        yield ("time_zone",), f"{told!r} is no time zone; write UTC or Europe/Berlin"
    yield from _in_patterns(policy.protect.tags, "tag", ("protect", "tags"))
    yield from _in_patterns(policy.protect.repositories, "repository", ("protect", "repositories"))
    names: dict[str, int] = {}
    for number, rule in enumerate(policy.rules):
        at: Steps = ("rules", number)
        if rule.name and names.setdefault(rule.name, number) != number:
            yield (*at, "name"), f"another rule is called {rule.name!r}"
        for key, message in _in_rule(rule):
            yield (*at, *key), message


def require_meant(policy: Policy) -> None:
    """Raise :class:`InvalidPolicy` for a policy with a mistake, wherever it was had from.

    A file is checked when it is read; a plan, and a program that makes a policy, may hold anything.
    """
    for steps, message in find_mistakes(policy):
        key = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)
        raise InvalidPolicy(f"the policy cannot be meant: {key.removeprefix('.')}: {message}")


def _in_rule(rule: Rule) -> Iterator[tuple[Steps, str]]:
    yield from _in_set(rule)
    if rule.keep is None and rule.remove is None:
        yield (), "does nothing; it has neither keep nor remove"
    if rule.keep is not None:
        yield from _in_keep(rule.keep)
    if rule.remove == "rest" and rule.keep is None:
        yield ("remove",), "the rest of what? Write keep, or remove: all"
    if rule.remove == "all" and rule.keep is not None:
        yield ("remove",), "all, also what keep names? Write remove: rest"
    if isinstance(rule.remove, Remove):
        yield from _in_removal(rule.remove)
    if rule.whole_images and rule.keep is None:
        yield ("whole_images",), "is about what keep names; add keep"
    if rule.clock is Clock.TAGGED and rule.state is not State.TAGGED:
        yield ("clock",), f"what is {rule.state} has no tags; write pushed"
    if rule.clock is Clock.CREATED and rule.state is not State.TAGGED:
        yield ("clock",), f"when what is {rule.state} was created is not read; write pushed"
    if rule.clock is Clock.UNTAGGED and rule.state is not State.UNTAGGED:
        yield ("clock",), "only what is untagged has lost its tag; add state: untagged"


def _in_set(rule: Rule) -> Iterator[tuple[Steps, str]]:
    if not rule.repositories:
        yield ("repositories",), "names no repository; leave it out if all are meant"
    for key in ("repositories", "except_repositories"):
        yield from _in_patterns(getattr(rule, key), "repository", (key,))
    if rule.artifact_types is not None and not rule.artifact_types:
        yield ("artifact_types",), "names no type; leave it out if images of any kind are meant"
    yield from _in_patterns(rule.artifact_types or (), "type", ("artifact_types",))
    larger, smaller = rule.larger_than, rule.smaller_than
    if larger is not None and smaller is not None and larger.bytes >= smaller.bytes - 1:
        yield ("smaller_than",), f"nothing is larger than {larger} and smaller than {smaller}"
    if rule.state is not State.TAGGED:
        yield from _about_tags(rule)
        return
    if not rule.tags:
        yield (), 'names no tags; write tags: ["*"] if all are meant'
    for key in ("tags", "except_tags"):
        yield from _in_patterns(getattr(rule, key), "tag", (key,))


def _about_tags(rule: Rule) -> Iterator[tuple[Steps, str]]:
    """Yield the keys about tags of a rule about what has none."""
    for key in ("tags", "except_tags", "group_by"):
        if getattr(rule, key):
            yield (key,), f"what is {rule.state} has no tags"
    if rule.keep is not None and rule.keep.tags:
        yield ("keep", "tags"), f"what is {rule.state} has no tags"


def _in_keep(keep: Keep) -> Iterator[tuple[Steps, str]]:
    if keep == Keep():
        yield ("keep",), "keeps nothing; write for example last: 10"
    for key in ("within", "pulled_within"):
        yield from _in_period(getattr(keep, key), ("keep", key), "keeps nothing; leave it out")
    yield from _in_patterns(keep.tags, "tag", ("keep", "tags"))


def _in_removal(remove: Remove) -> Iterator[tuple[Steps, str]]:
    at: Steps = ("remove",)
    counts = [remove.beyond, remove.and_beyond, remove.or_beyond, remove.leaving]
    if remove == Remove():
        yield at, "removes nothing; write for example older_than: 30d"
    if sum(count is not None for count in counts) > 1:
        yield at, "has several counts; write one of beyond, and_beyond, or_beyond, leaving"
    elif remove.older_than is not None and remove.beyond is not None:
        yield at, "age and count: write and_beyond (old and beyond N) or or_beyond (either)"
    elif remove.older_than is None and remove.beyond is None and any(counts):
        yield at, "and_beyond, or_beyond and leaving go with older_than; alone it is beyond"
    for key in ("older_than", "not_pulled_within"):
        message = "is no time, and takes what is being pushed; if all are meant, remove: all"
        yield from _in_period(getattr(remove, key), (*at, key), message)


def _in_period(period: Period | None, at: Steps, message: str) -> Iterator[tuple[Steps, str]]:
    if period is not None and period.is_zero:
        yield at, f"{period} {message}"


def _in_patterns(patterns: Sequence[str], of: Names, at: Steps) -> Iterator[tuple[Steps, str]]:
    for number, pattern in enumerate(patterns):
        message = _impossible(pattern, of)
        if message is not None:
            yield (*at, number), message


def _impossible(pattern: str, of: Names) -> str | None:
    """Say why no name can match a pattern, as far as that can be told."""
    if is_expression(pattern):
        return None
    if is_range(pattern):
        return None if of == "tag" else f"{pattern!r} is for tags; a {_SPELLED[of]} has no version"
    found = _IMPOSSIBLE[of].search(pattern)
    if found is None:
        return None
    begins = " begins with" if found.end() == 1 and found[0] in "./-" else " has"
    told = f"{pattern!r} matches nothing: no {_SPELLED[of]}{begins} {found[0]!r}"
    return f"{told}; write a glob, or re:EXPRESSION of the whole name"
