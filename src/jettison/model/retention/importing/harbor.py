"""Tag retention of Harbor, as its API has it.

A rule retains artifacts, each with all its tags; in a repository that any rule names, what none
retains is deleted. See https://goharbor.io/docs/ (Create Tag Retention Rules), and
src/pkg/retention and src/lib/selector of its source.
"""

import re
from typing import Any, Final, NamedTuple

from jettison.errors import InvalidDocument
from jettison.model import strict_json
from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import (
    ALL,
    Untranslatable,
    repository_globs,
    tag_globs,
)
from jettison.model.retention.importing.reading import Node
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove, State

__all__ = ["from_harbor"]

_EVERYTHING: Final = Keep(tags=(ALL,))
_EVER: Final = Period("100y")
_RULE: Final = (
    *("id", "priority", "disabled", "action", "template", "params"),
    *("tag_selectors", "scope_selectors"),
)


class _Set(NamedTuple):
    """The artifacts that a rule selects; ``exact``: these and no others, not only these."""

    tags: tuple[Pattern, ...]
    except_tags: tuple[Pattern, ...]
    untagged: bool
    exact: bool


def from_harbor(document: Node, attached_to: str | None = None) -> Imported:
    """Import a policy of ``/api/v2.0/retentions/ID``; ``attached_to`` is the project."""
    draft = Draft("Harbor's tag retention")
    if attached_to is None:
        draft.ask(
            "In Harbor a policy is of one project; this one is about all. Which is it? "
            "Import with --attached-to PROJECT."
        )
    algorithm = document.get("algorithm")
    if algorithm is not None:
        algorithm.one_of("or")
    rules = list(document.need("rules").items("a list of rules"))
    before = "[^/]+/" if attached_to is None else f"{re.escape(attached_to.strip('/'))}/"
    closed: dict[tuple[tuple[Pattern, ...], tuple[Pattern, ...]], None] = {}
    for number, rule in enumerate(rules, 1):
        try:
            _read(draft, f"rule {number}", rule, before, closed)
        except Untranslatable as error:
            draft.keep(f"rule {number}: which repositories it names: {error}. Nothing is removed.")
            return draft.imported()
    for number, (repositories, excepted) in enumerate(closed, 1):
        name = "the rest" if len(closed) == 1 else f"the rest {number}"
        draft.ask(
            f"Harbor deletes everything that no rule retains, in each repository that a rule "
            f"names, also without a tag. The rules '{name}' do the same, but for what lost its "
            "tag less than a day ago. Is that wanted?"
        )
        draft.ask(
            "Harbor keeps what its rules of tag immutability name, whatever the retention says. "
            "They stand elsewhere; name such tags in `protect`. Are there any?"
        )
        where: dict[str, Any] = {"repositories": repositories, "except_repositories": excepted}
        draft.add(name, tags=(ALL,), remove="all", **where)
        untagged = Remove(older_than=Period("1d"))
        draft.add(f"{name}, untagged", state=State.UNTAGGED, remove=untagged, **where)
    return draft.imported()


def _read(
    draft: Draft,
    name: str,
    rule: Node,
    before: str,
    closed: dict[tuple[tuple[Pattern, ...], tuple[Pattern, ...]], None],
) -> None:
    rule.known(*_RULE)
    disabled = rule.get("disabled")
    if disabled is not None and disabled.flag():
        draft.ask(f"{name} is disabled in Harbor: it neither retains nor deletes. It is left out.")
        return
    action = rule.get("action")
    if action is not None:
        action.one_of("retain")
    repositories, excepted, exact = _repositories(rule, before)
    if exact:
        closed[repositories, excepted] = None
    else:
        draft.keep(f"{name}: it has several selectors of repositories, and only keeps.")
    found = _selected(rule)
    keep = _keep(rule)
    if not found.exact or keep is None:
        what = "selector of tags" if keep is not None else "template"
        draft.keep(f"{name}: its {what}; it keeps everything that it may be about.")
        keep = _EVERYTHING
    if keep == Keep():
        draft.ask(f"{name} retains nothing (its number is 0). Is that meant?")
    where: dict[str, Any] = {"repositories": repositories, "except_repositories": excepted}
    draft.add(
        name,
        tags=found.tags,
        except_tags=found.except_tags,
        clock=Clock.UPLOADED,
        whole_images=keep != Keep(),
        keep=keep,
        **where,
    )
    if found.untagged:
        plain = Keep(within=_EVER) if keep == _EVERYTHING else keep
        untagged = f"{name}, untagged"
        draft.add(untagged, state=State.UNTAGGED, clock=Clock.UPLOADED, keep=plain, **where)


def _repositories(rule: Node, before: str) -> tuple[tuple[Pattern, ...], tuple[Pattern, ...], bool]:
    """Return the repositories, those excepted, and whether there are no further conditions."""
    scope = rule.get("scope_selectors")
    selectors = None if scope is None else scope.get("repository")
    nodes = [] if selectors is None else list(selectors.items("a list of selectors"))
    if len(nodes) != 1:
        return (ALL,), (), False
    kind = nodes[0].get("kind")
    decoration = nodes[0].need("decoration").one_of("repoMatches", "repoExcludes")
    glob = nodes[0].need("pattern").text()
    if kind is not None:
        kind.one_of("doublestar")
    if decoration == "repoMatches":
        return repository_globs(glob, before), (), True
    everything = repository_globs("**", before)
    return everything, repository_globs(glob, before, wide=True), True


def _selected(rule: Node) -> _Set:
    selectors = rule.get("tag_selectors")
    nodes = [] if selectors is None else list(selectors.items("a list of selectors"))
    unknown = _Set((ALL,), (), untagged=True, exact=False)
    if len(nodes) != 1:
        return unknown
    kind = nodes[0].get("kind")
    if kind is not None and kind.text() != "doublestar":
        return unknown
    excludes = nodes[0].need("decoration").one_of("matches", "excludes") == "excludes"
    untagged = _says_untagged(nodes[0], default=not excludes) != excludes
    pattern = nodes[0].get("pattern")
    try:
        tags = tag_globs("" if pattern is None else pattern.text())
    except Untranslatable:
        return unknown
    if excludes:
        return _Set((ALL,), tags, untagged, exact=True)
    return _Set(tags, (), untagged, exact=True)


def _says_untagged(selector: Node, *, default: bool) -> bool:
    extras = selector.get("extras")
    if extras is None or not extras.text():
        return default
    try:
        found = strict_json.decode(extras.text().encode(), object)
    except InvalidDocument:
        return default
    return bool(found.get("untagged", False)) if isinstance(found, dict) else default


def _keep(rule: Node) -> Keep | None:
    """Return what a rule retains of its selection; None if that has no equal."""
    template = rule.need("template").text()
    if template == "always":
        return _EVERYTHING
    params = rule.get("params")
    value = None if params is None else params.get(template)
    if value is None:
        return None
    number = value.number()
    days = Period(f"{number}d")
    count = number or None
    found = {
        "latestPushedK": Keep(last=count),
        "latestPulledN": Keep(last_pulled=count),
        # Its time is the later of both: who is among the newest N by it is so by one of them.
        "latestActiveK": Keep(last=count, last_pulled=count),
        "nDaysSinceLastPush": Keep(within=days),
        "nDaysSinceLastPull": Keep(pulled_within=days),
    }
    return found.get(template)
