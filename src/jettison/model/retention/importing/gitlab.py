"""The cleanup policy of a GitLab project (``container_expiration_policy``).

Of the tags that ``name_regex_delete`` matches, without ``latest`` and what ``name_regex_keep``
matches, go those beyond the newest ``keep_n`` that are older than ``older_than``. See
https://docs.gitlab.com/user/packages/container_registry/reduce_container_registry_storage/ and
app/services/projects/container_repository of its source.
"""

import re
from typing import Any, Final, Literal

from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import Untranslatable, anchored, literal
from jettison.model.retention.importing.reading import Node
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove

__all__ = ["from_gitlab"]

_KEYS: Final = (
    *("cadence", "enabled", "keep_n", "older_than", "name_regex", "name_regex_delete"),
    *("name_regex_keep", "next_run_at"),
)
_DAYS: Final = re.compile(r"(\d+) ?d(?:ays?)?")


def from_gitlab(document: Node, attached_to: str | None = None) -> Imported:
    """Import the policy, or a project that has one; ``attached_to`` is the project's path."""
    where: tuple[Pattern, ...] = ()
    if attached_to is not None:
        project = attached_to.strip("/").lower()
        where = (literal(project), Pattern(f"{literal(project)}/*"))
    draft = Draft("a cleanup policy of GitLab", where)
    if attached_to is None:
        draft.ask(
            "In GitLab a policy is of one project; this one is about all. Which is it? Write "
            "GROUP/PROJECT and GROUP/PROJECT/* in `repositories`, or import with --attached-to."
        )
    policy = document.get("container_expiration_policy", "container_expiration_policy_attributes")
    policy = policy or document
    if policy.get("enabled", "keep_n", "older_than", "name_regex_delete", "name_regex") is None:
        raise policy.refused("a cleanup policy with enabled, keep_n, older_than, name_regex_delete")
    policy.known(*_KEYS)
    enabled = policy.get("enabled")
    if enabled is None or not enabled.flag():
        draft.keep("the policy is not enabled, and removes nothing; import it with enabled: true.")
        return draft.imported()
    _add(draft, policy)
    return draft.imported()


def _text(policy: Node, *keys: str) -> str:
    found = policy.get(*keys)
    return "" if found is None else found.text()


def _add(draft: Draft, policy: Node) -> None:
    delete = _text(policy, "name_regex_delete") or _text(policy, "name_regex")
    keep = _text(policy, "name_regex_keep")
    if not delete:
        draft.keep("the policy has no name_regex_delete, and removes nothing.")
        return
    try:
        tags = anchored(delete)
        excepted = [literal("latest"), *([anchored(keep)] if keep else [])]
    except Untranslatable as error:
        draft.keep(f"which tags are named: {error}.")
        return
    for text in filter(None, (delete, keep)):
        if "(?:\\A" in anchored(text):
            draft.ask(
                f"GitLab puts no parentheses around {text!r}: only its first alternative begins "
                "at the beginning of a tag, only its last one ends at the end. Is that meant?"
            )
    count = policy.get("keep_n")
    most = None if count is None else count.number() or None
    age = _period(policy.get("older_than"))
    draft.ask(
        "A GitLab whose registry has a metadata database counts from the push of a tag, another "
        "one from the creation of the image. Here both have to agree. If yours has the database, "
        "the rule 'also by creation' may go."
    )
    draft.ask(
        "GitLab's cleanup leaves tags that are protected or immutable; name them in `protect`. "
        "Are there any?"
    )
    settings: dict[str, Any] = {"tags": (tags,), "except_tags": tuple(excepted)}
    draft.add("cleanup", clock=Clock.TAGGED, remove=_removal(age, most), **settings)
    also = Keep(last=most, within=age)
    draft.add("also by creation", clock=Clock.CREATED, keep=also, **settings)


def _removal(age: Period | None, most: int | None) -> Remove | Literal["all"]:
    if age is None:
        return "all" if most is None else Remove(beyond=most)
    return Remove(older_than=age, and_beyond=most)


def _period(node: Node | None) -> Period | None:
    if node is None:
        return None
    found = _DAYS.fullmatch(node.text())
    if found is None:
        raise node.refused("a number of days such as 30d")
    return Period(f"{int(found[1])}d")
