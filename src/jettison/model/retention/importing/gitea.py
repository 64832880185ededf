"""Cleanup rules of Gitea and Forgejo for packages of the type container.

A version (a tag) goes if it is not among the newest ``keep_count`` of its package, ``keep_pattern``
does not match it, it is older than ``remove_days``, and ``remove_pattern`` matches it; ``latest``
never goes. See https://docs.gitea.com/usage/packages/storage and services/packages/cleanup of its
source.
"""

from typing import Any, Final, Literal

from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import (
    ALL,
    Untranslatable,
    anchored,
    literal,
    prefixed,
)
from jettison.model.retention.importing.reading import Malformed, Node
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove

__all__ = ["from_gitea"]

_NAMES: Final = {
    name.replace("_", ""): name
    for name in (
        *("id", "enabled", "owner_id", "type", "keep_count", "keep_pattern", "remove_days"),
        *("remove_pattern", "match_full_name", "created_unix", "updated_unix"),
    )
}


def from_gitea(document: Node, attached_to: str | None = None) -> Imported:
    """Import a rule or a list of them, with the columns of its table as keys.

    ``KeepCount``, ``keepCount`` and ``keep_count`` are the same. ``attached_to`` is the owner.
    """
    where = () if attached_to is None else (prefixed(f"{attached_to.strip('/').lower()}/"),)
    draft = Draft("cleanup rules of Gitea", where)
    if attached_to is None:
        draft.ask(
            "In Gitea a rule is of one owner; this one is about all. Which is it? Write OWNER/* "
            "in `repositories`, or import with --attached-to."
        )
    nodes = [document] if document.is_section else list(document.items("a rule, or a list"))
    for number, node in enumerate(nodes, 1):
        _add(draft, f"rule {number}" if len(nodes) > 1 else "rule", _plain(node))
    return draft.imported()


def _plain(node: Node) -> Node:
    if not node.is_section:
        raise node.refused("a cleanup rule with keep_count, keep_pattern, remove_days")
    found: dict[str, Any] = {}
    for key, value in node.value.items():
        name = _NAMES.get(str(key).replace("_", "").lower())
        if name is None:
            allowed = ", ".join(_NAMES.values())
            raise Malformed(f"{key!r} is not understood; known are {allowed}", node.steps)
        found[name] = value
    rule = Node(found, node.steps)
    if not any(key in found for key in ("keep_count", "remove_days", "remove_pattern")):
        raise node.refused("a cleanup rule with keep_count, keep_pattern, remove_days")
    return rule


def _add(draft: Draft, name: str, rule: Node) -> None:
    kind = rule.get("type")
    if kind is not None and kind.text().lower() != "container":
        draft.keep(f"{name} is for packages of the type {kind.text()}.")
        return
    enabled = rule.get("enabled")
    if enabled is not None and not enabled.flag():
        draft.keep(f"{name} is not enabled, and removes nothing; import it with enabled: true.")
        return
    full = rule.get("match_full_name")
    remove_text, keep_text = _text(rule, "remove_pattern"), _text(rule, "keep_pattern")
    if full is not None and full.flag() and (remove_text or keep_text):
        draft.keep(f"{name}: patterns of package and tag together (match_full_name).")
        return
    try:
        tags = anchored(remove_text, "(?i)") if remove_text else ALL
        excepted = [literal("latest")]
        excepted += [anchored(keep_text, "(?i)")] if keep_text else []
    except Untranslatable as error:
        draft.keep(f"{name}: which tags it names: {error}.")
        return
    for text in filter(None, (remove_text, keep_text)):
        if "(?:\\A" in anchored(text, "(?i)"):
            draft.ask(
                f"Gitea puts no parentheses around {text!r}: only its first alternative begins at "
                "the beginning of a tag, only its last one ends at the end. Is that meant?"
            )
    if tags == ALL:
        draft.ask(f"{name} has no remove_pattern: every tag is named. Is that meant?")
    draft.keep(f"{name}: manifests without a tag; write a rule with `state: untagged` for them.")
    count, days = _number(rule, "keep_count"), _number(rule, "remove_days")
    settings: dict[str, Any] = {"tags": (tags,), "except_tags": tuple(excepted)}
    # Days there are of the calendar: one of them may have an hour more.
    age = Period(f"{days}d1h") if days else None
    remove: Remove | Literal["all"] = "all" if age is None else Remove(older_than=age)
    draft.add(name, clock=Clock.TAGGED, remove=remove, **settings)
    if count:
        # The newest are those of the whole package, whatever the patterns.
        draft.add(f"{name}, newest", tags=(ALL,), clock=Clock.TAGGED, keep=Keep(last=count))


def _text(rule: Node, key: str) -> str:
    found = rule.get(key)
    return "" if found is None else found.text()


def _number(rule: Node, key: str) -> int:
    found = rule.get(key)
    return 0 if found is None else found.number()
