"""Auto-prune policies of Quay.

Each policy is by itself: it removes tags beyond the newest N, or older than an age, of those whose
name its expression matches anywhere (or does not). See
https://docs.projectquay.io/ (Auto-pruning) and data/model/autoprune.py of its source.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import (
    ALL,
    Untranslatable,
    literal,
    prefixed,
    searched,
)
from jettison.model.retention.importing.reading import Node
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Remove

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern

__all__ = ["from_quay"]

_POLICY: Final = (
    *("uuid", "method", "value", "tagPattern", "tag_pattern"),
    *("tagPatternMatches", "tag_pattern_matches", "creationDate"),
)
_AGE: Final = re.compile(r"(\d+)([smhdw])")
_OTHERS: Final = re.compile(r"\\[bBmMyY]")
"""What PostgreSQL and MySQL, which match the expressions, take for something else than RE2."""


def from_quay(document: Node, attached_to: str | None = None) -> Imported:
    """Import a policy, a list of them, or the API's answer with ``policies``.

    ``attached_to`` is an organisation, or ORGANISATION/REPOSITORY.
    """
    where: tuple[Pattern, ...] = ()
    if attached_to is not None:
        name = attached_to.strip("/")
        where = (literal(name) if "/" in name else prefixed(f"{name}/"),)
    draft = Draft("auto-prune policies of Quay", where)
    if attached_to is None:
        draft.ask(
            "In Quay a policy is of an organisation or of a repository; this one is about all. "
            "Which is it? Write it in `repositories`, or import with --attached-to."
        )
    for number, policy in enumerate(_policies(document), 1):
        _add(draft, f"policy {number}", policy)
    return draft.imported()


def _policies(document: Node) -> Iterable[Node]:
    if not document.is_section:
        return document.items("an auto-prune policy with method and value, or a list of them")
    listed = document.get("policies")
    if listed is not None:
        return listed.items("a list of policies")
    return [document]


def _add(draft: Draft, name: str, policy: Node) -> None:
    policy.known(*_POLICY)
    method = policy.need("method").one_of("number_of_tags", "creation_date")
    value = policy.need("value")
    if method == "number_of_tags":
        remove = Remove(beyond=value.number(1))
    else:
        age = _AGE.fullmatch(value.text())
        if age is None:
            raise value.refused("an age such as 7d")
        remove = Remove(older_than=Period(f"{int(age[1])}{age[2]}" if int(age[1]) else "0d"))
    node = policy.get("tagPattern", "tag_pattern")
    pattern = "" if node is None else node.text()
    matches = policy.get("tagPatternMatches", "tag_pattern_matches")
    try:
        if _OTHERS.search(pattern):
            raise Untranslatable(f"{pattern!r} has an escape that databases take otherwise")  # noqa: TRY301
        tags = searched(pattern)
    except Untranslatable as error:
        draft.keep(f"{name}: which tags it names: {error}.")
        return
    if pattern and tags != ALL and not pattern.startswith("^"):
        draft.ask(f"Quay looks for {pattern!r} anywhere in a tag; it is not anchored. Is it meant?")
    if not pattern or matches is None or matches.flag():
        draft.add(name, tags=(tags,), clock=Clock.TAGGED, remove=remove)
    elif tags == ALL:
        draft.keep(f"{name}: tags that {pattern!r} does not match; there are none.")
    else:
        draft.add(name, tags=(ALL,), except_tags=(tags,), clock=Clock.TAGGED, remove=remove)
