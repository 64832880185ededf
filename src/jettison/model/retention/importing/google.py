"""Cleanup policies of Google Artifact Registry.

A version (a manifest) goes if any delete policy names it and no keep policy does. Prefixes of one
condition are alternatives; the members of a condition all have to hold. See
https://cloud.google.com/artifact-registry/docs/repositories/cleanup-policy-overview
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from jettison.errors import InvalidDigest
from jettison.model.digest import Digest
from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import ALL, prefixed
from jettison.model.retention.importing.reading import Node
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove, State

__all__ = ["from_google"]

_CONDITION: Final = (
    *("tagState", "tagPrefixes", "versionNamePrefixes", "packageNamePrefixes"),
    *("olderThan", "newerThan"),
)
_EVER: Final = Period("100y")
_WHERE: Final = re.compile(r"(\d+)(?:\.0+)?([smhd])")


class _Condition(NamedTuple):
    """A condition: which images, and what else has to hold."""

    tagged: bool
    untagged: bool
    tags: tuple[Pattern, ...]
    versions: tuple[str, ...]
    packages: tuple[str, ...]
    older: Period | None
    newer: Period | None


class _Told(NamedTuple):
    """What the description of a repository says beside its policies."""

    dry_run: bool = False
    immutable: bool = False

    @classmethod
    def of(cls, document: Node) -> "_Told":
        if not document.is_section:
            return cls()
        docker = document.get("dockerConfig", "docker_config") or Node({})
        return cls(
            _flag(document, "cleanupPolicyDryRun", "cleanup_policy_dry_run"),
            _flag(docker, "immutableTags", "immutable_tags"),
        )


def _flag(node: Node, *keys: str) -> bool:
    found = node.get(*keys)
    return found is not None and found.flag()


def from_google(document: Node, attached_to: str | None = None) -> Imported:
    """Import a policy file of gcloud (a list), or ``cleanupPolicies`` of the API.

    ``attached_to`` is PROJECT/REPOSITORY.
    """
    draft = Draft("cleanup policies of Artifact Registry", _home(attached_to))
    if attached_to is None:
        draft.ask(
            "In Google's registry policies are of one repository; these are about all. Which is "
            "it? Write PROJECT/REPOSITORY/* in `repositories`, or import with --attached-to."
        )
    told = _Told.of(document)
    if told.dry_run:
        draft.keep("cleanupPolicyDryRun is true: Google's registry removes nothing.")
        return draft.imported()
    for name, policy in _policies(document):
        policy.known("name", "id", "action", "condition", "mostRecentVersions")
        action = policy.need("action")
        kind = (action.need("type") if action.is_section else action).one_of("Delete", "Keep")
        condition, recent = policy.get("condition"), policy.get("mostRecentVersions")
        if kind == "Keep" and recent is not None and condition is None:
            _keep_recent(draft, name, recent, attached_to)
        elif condition is None or recent is not None:
            expected = "a condition" if kind == "Delete" else "condition or mostRecentVersions"
            raise policy.refused(f"{expected}, and nothing else, in a {kind} policy")
        elif kind == "Keep":
            _keep(draft, name, _condition(condition), attached_to)
        else:
            _delete(draft, name, _condition(condition), attached_to, immutable=told.immutable)
    return draft.imported()


def _home(attached_to: str | None) -> tuple[Pattern, ...]:
    return () if attached_to is None else (prefixed(f"{attached_to.strip('/')}/"),)


def _policies(document: Node) -> Iterator[tuple[str, Node]]:
    if document.is_section:
        policies = document.need("cleanupPolicies", "cleanup_policies")
        if policies.is_section:
            for key in policies.value:
                yield str(key), policies.need(key)
            return
        document = policies
    for number, policy in enumerate(document.items("a list of cleanup policies"), 1):
        named = policy.get("name", "id")
        yield (f"policy {number}" if named is None else named.text()), policy


def _condition(node: Node) -> _Condition:
    node.known(*_CONDITION)
    state_node = node.get("tagState")
    states = ("tagged", "untagged", "any", "tag_state_unspecified")
    state = "any" if state_node is None else state_node.one_of(*states)
    prefixes = _texts(node, "tagPrefixes")
    return _Condition(
        state != "untagged",
        state != "tagged" and not prefixes,
        tuple(map(prefixed, prefixes)) or (ALL,),
        _texts(node, "versionNamePrefixes"),
        _packages(node),
        _period(node.get("olderThan")),
        _period(node.get("newerThan")),
    )


def _texts(node: Node, key: str) -> tuple[str, ...]:
    found = node.get(key)
    return () if found is None else found.texts()


def _packages(node: Node) -> tuple[str, ...]:
    """Return prefixes of packages; the API writes a slash of a name as ``%2F``."""
    return tuple(
        re.sub("%2f", "/", one, flags=re.IGNORECASE) for one in _texts(node, "packageNamePrefixes")
    )


def _period(node: Node | None) -> Period | None:
    if node is None:
        return None
    found = _WHERE.fullmatch(node.text())
    if found is None:
        raise node.refused("a duration such as 30d or 2592000s")
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    days, rest = divmod(seconds, 86400)
    return Period(f"{days}d" if not rest else f"{seconds}s")


def _repositories(
    packages: tuple[str, ...], attached_to: str | None, *, keeps: bool
) -> dict[str, Any]:
    """Return the repositories of packages; without PROJECT/REPOSITORY, a keep takes any place."""
    if not packages:
        return {}
    if attached_to is not None:
        found = [prefixed(f"{attached_to.strip('/')}/{package}") for package in packages]
    else:
        before = "(?:.*/)?" if keeps else "[^/]+/[^/]+/"
        found = [Pattern(f"re:{before}{re.escape(package)}.*") for package in packages]
    return {"repositories": tuple(found)}


def _delete(
    draft: Draft, name: str, condition: _Condition, attached_to: str | None, *, immutable: bool
) -> None:
    if condition.versions:
        draft.keep(f"{name}: deleting by the beginning of a version's name.")
        return
    if condition.newer is not None:
        draft.keep(f"{name}: deleting only what is newer than {condition.newer}.")
        return
    where = _repositories(condition.packages, attached_to, keeps=False)
    older = condition.older
    remove: Remove | Literal["all"] = "all" if older is None else Remove(older_than=older)
    if older is None:
        draft.ask(
            f"{name} deletes without an age, also what is being pushed at that moment. "
            "Is an age missing?"
        )
    if condition.tagged and immutable:
        draft.keep(f"{name}: what has a tag, since the repository's tags are immutable.")
    elif condition.tagged:
        draft.add(name, tags=condition.tags, clock=Clock.UPLOADED, remove=remove, **where)
    if condition.untagged:
        if older is not None:
            draft.ask(
                f"{name} counts in Google's registry from the upload of an image; here an "
                "untagged one counts from when it lost its tag. Is that what was meant?"
            )
        draft.add(f"{name}, untagged", state=State.UNTAGGED, remove=remove, **where)


def _keep(draft: Draft, name: str, condition: _Condition, attached_to: str | None) -> None:
    versions = condition.versions
    alone = condition._replace(versions=(), packages=()) == _condition(Node({}))
    if versions and alone and all(map(_is_digest, versions)):
        draft.protect(digests=[Digest(one) for one in versions])
        return
    if versions or condition.older is not None:
        what = "by the beginning of a version's name" if versions else "only what is older"
        draft.keep(f"{name}: keeping {what}; it keeps also what lacks only that.")
    where = _repositories(condition.packages, attached_to, keeps=True)
    newer = condition.newer
    if condition.tagged:
        draft.add(
            name,
            tags=condition.tags,
            clock=Clock.UPLOADED,
            whole_images=True,
            keep=Keep(tags=(ALL,)) if newer is None else Keep(within=newer),
            **where,
        )
    if condition.untagged:
        draft.add(
            f"{name}, untagged",
            state=State.UNTAGGED,
            clock=Clock.UPLOADED,
            keep=Keep(within=newer or _EVER),
            **where,
        )


def _is_digest(text: str) -> bool:
    try:
        Digest(text)
    except InvalidDigest:
        return False
    return True


def _keep_recent(draft: Draft, name: str, recent: Node, attached_to: str | None) -> None:
    recent.known("keepCount", "packageNamePrefixes")
    where = _repositories(_packages(recent), attached_to, keeps=True)
    keep = Keep(last=recent.need("keepCount").number(1))
    draft.ask(
        f"{name} counts in Google's registry versions: each platform of an image, and what is "
        "untagged. Here images are counted, those with tags and those without each for "
        "themselves, and more is kept. Is that the number meant?"
    )
    draft.add(name, tags=(ALL,), clock=Clock.UPLOADED, whole_images=True, keep=keep, **where)
    draft.add(f"{name}, untagged", state=State.UNTAGGED, clock=Clock.UPLOADED, keep=keep, **where)
