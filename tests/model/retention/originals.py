"""Models of the systems that policies are imported from: images in, what would be removed out.

Each is written from the system's documentation (docs/importing-policies.md names it), not from what
imports it. Where a system does not say which of two equally old images is the newer one, only what
it removes in either case is told: an import may remove that, and nothing else.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from tests.model.retention.building import digest_of

__all__ = ["MODELS", "Item", "Purge", "Removed", "World"]

_T = TypeVar("_T")

DAY = 86400.0
Removed = set[tuple[str, str]]
"""A repository, with a tag or the name of an untagged image."""


class Item(NamedTuple):
    """A manifest; times are seconds since the epoch, and all of them are known to the system."""

    name: str
    tags: Mapping[str, float]
    uploaded: float
    created: float
    untagged: float
    pulled: float | None
    children: tuple[str, ...]
    subject: str | None


class World(NamedTuple):
    """The repositories of a registry, at a time.

    ``counts_all``: the system counts platforms of an index and referrers like images, also those
    without a tag.
    """

    repositories: Mapping[str, tuple[Item, ...]]
    now: float
    counts_all: bool

    def counted(self, repository: str) -> list[Item]:
        items = self.repositories[repository]
        below = {child for item in items for child in item.children}
        if self.counts_all:
            return list(items)
        return [
            item for item in items if item.tags or (item.name not in below and item.subject is None)
        ]


def newer(one: _T, of: Iterable[_T], time: Callable[[_T], float]) -> int:
    return sum(time(other) > time(one) for other in of)


def whole(repository: str, item: Item) -> Removed:
    return {(repository, tag) for tag in item.tags} or {(repository, item.name)}


def uploaded(item: Item) -> float:
    return item.uploaded


# Amazon ECR: lifecycle_policy_parameters.html and LifecyclePolicies.html of the user guide.


def ecr_selects(selection: Mapping[str, Any], item: Item) -> bool:
    if selection["tagStatus"] == "any":
        return True
    if selection["tagStatus"] == "untagged":
        return not item.tags
    globs = [f"{prefix}*" for prefix in selection.get("tagPrefixList", ())]
    globs += selection.get("tagPatternList", ())
    return all(any(fnmatch.fnmatchcase(tag, glob) for tag in item.tags) for glob in globs)


def ecr(document: Mapping[str, Any], world: World) -> Removed:
    rules = sorted(document["rules"], key=lambda rule: rule["rulePriority"])
    removed: Removed = set()
    for repository in world.repositories:
        images = world.counted(repository)
        expired: set[str] = set()
        for image in images:
            mine = [rule for rule in rules if ecr_selects(rule["selection"], image)]
            if not mine or mine[0]["action"]["type"] != "expire":
                continue
            selection = mine[0]["selection"]
            number = selection["countNumber"]
            if selection.get("storageClass", "standard") != "standard":
                continue
            if selection["countType"] == "sinceImagePushed":
                goes = image.uploaded < world.now - number * DAY
            else:
                others = [one for one in images if ecr_selects(selection, one)]
                goes = newer(image, others, uploaded) >= number
            if goes:
                expired.add(image.name)
        by_name = {image.name: image for image in images}
        for name in expired:
            # ECR also keeps what an index without a tag lists. Its image stays here, too, and
            # loses its tags.
            owners = [one.name for one in images if name in one.children and one.tags]
            if all(owner in expired for owner in owners):
                removed |= whole(repository, by_name[name])
    return removed


# Google: cleanup-policy-overview of the documentation of Artifact Registry.


def seconds(duration: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY}
    return float(duration[:-1]) * units[duration[-1]]


def google_holds(condition: Mapping[str, Any], item: Item, package: str, now: float) -> bool:
    state = condition.get("tagState", "any").lower()
    if state in {"tagged", "untagged"} and (state == "tagged") != bool(item.tags):
        return False
    prefixes = condition.get("tagPrefixes")
    if prefixes and not any(tag.startswith(one) for tag in item.tags for one in prefixes):
        return False
    if (starts := condition.get("packageNamePrefixes")) and not package.startswith(tuple(starts)):
        return False
    versions = condition.get("versionNamePrefixes")
    if versions and not digest_of(item.name).startswith(tuple(versions)):
        return False
    age = now - item.uploaded
    if "olderThan" in condition and not age > seconds(condition["olderThan"]):
        return False
    return "newerThan" not in condition or age < seconds(condition["newerThan"])


def google_says(
    policy: Mapping[str, Any], item: Item, versions: list[Item], package: str, now: float
) -> bool:
    recent = policy.get("mostRecentVersions")
    if recent is None:
        return google_holds(policy["condition"], item, package, now)
    starts = recent.get("packageNamePrefixes")
    if starts and not package.startswith(tuple(starts)):
        return False
    most: int = recent["keepCount"]
    return newer(item, versions, uploaded) < most


def google(document: Any, world: World) -> Removed:
    removed: Removed = set()
    for repository in world.repositories:
        package = "/".join(repository.split("/")[2:])
        versions = world.counted(repository)
        for item in versions:
            said = {
                policy["action"]["type"]
                for policy in document
                if google_says(policy, item, versions, package, world.now)
            }
            if said == {"Delete"}:
                removed |= whole(repository, item)
    return removed


# Azure: acr purge, from cmd/acr/purge.go and the help of its options.


class Purge(NamedTuple):
    filters: tuple[tuple[str, str], ...]
    ago: float
    keep: int
    untagged: bool


def azure(purge: Purge, world: World) -> Removed:
    removed: Removed = set()
    for repository, items in world.repositories.items():
        expressions = [tags for name, tags in purge.filters if re.search(f"^{name}$", repository)]
        if not expressions:
            continue
        joined = re.compile("|".join(expressions))
        before = world.now - purge.ago
        tags = {tag: time for item in items for tag, time in item.tags.items()}
        old = [tag for tag, time in tags.items() if joined.search(tag) and time < before]
        removed |= {
            (repository, tag) for tag in old if newer(tag, old, tags.__getitem__) >= purge.keep
        }
        if purge.untagged:
            below = {child for item in items for child in item.children}
            removed |= {
                (repository, item.name)
                for item in items
                if not item.tags and item.name not in below and item.subject is None
                if item.uploaded < before
            }
    return removed


# zot: articles/retention of its documentation, and pkg/retention.


def doublestar(glob: str, name: str) -> bool:
    """Whether a glob of doublestar matches, path component by path component."""
    found = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", glob)
    if found is not None:
        return any(doublestar(f"{found[1]}{one}{found[3]}", name) for one in found[2].split(","))

    def components(globs: list[str], parts: list[str]) -> bool:
        if not globs:
            return not parts
        if globs[0] == "**":
            return any(components(globs[1:], parts[at:]) for at in range(len(parts) + 1))
        if not parts or not fnmatch.fnmatchcase(parts[0], globs[0].replace("**", "*")):
            return False
        return components(globs[1:], parts[1:])

    # a/** does not match a in all versions; what is told here is what all of them match.
    if glob.endswith("/**") and doublestar(glob[:-3], name):
        return False
    return components(glob.split("/"), name.split("/"))


def zot(document: Mapping[str, Any], world: World) -> Removed:
    retention = document["storage"]["retention"]
    removed: Removed = set()
    for repository, items in world.repositories.items():
        policy: Mapping[str, Any] = next(
            (
                one
                for one in retention.get("policies", ())
                if any(doublestar(glob, repository) for glob in one["repositories"])
            ),
            {},
        )
        entries = policy.get("keepTags") or []
        tags = {tag: item for item in items for tag in item.tags}
        of: dict[str, int] = {}
        for tag in tags:
            for number, entry in enumerate(entries):
                patterns = entry.get("patterns") or [""]
                if any(re.search(pattern, tag) for pattern in patterns):
                    of[tag] = number
                    break
        for tag, item in tags.items():
            if not entries:
                continue
            if tag not in of:
                removed.add((repository, tag))
                continue
            entry = entries[of[tag]]
            group = [tags[other] for other in of if of[other] == of[tag]]
            if not zot_keeps(entry, item, group, world.now):
                removed.add((repository, tag))
        if policy.get("deleteUntagged", True):
            below = {child for item in items for child in item.children}
            delay = seconds(retention.get("delay", "24h"))
            removed |= {
                (repository, item.name)
                for item in items
                if not item.tags and item.name not in below and item.subject is None
                if item.uploaded < world.now - delay
            }
    return removed


def pulled(item: Item) -> float:
    return item.pulled or 0.0


def zot_keeps(entry: Mapping[str, Any], item: Item, group: list[Item], now: float) -> bool:
    said = [
        newer(item, group, by) < entry[key]
        for key, by in (("mostRecentlyPushedCount", uploaded), ("mostRecentlyPulledCount", pulled))
        if entry.get(key)
    ]
    if "pushedWithin" in entry:
        said.append(item.uploaded > now - seconds(entry["pushedWithin"]))
    if "pulledWithin" in entry:
        said.append(max(pulled(item), item.uploaded) > now - seconds(entry["pulledWithin"]))
    return any(said) if said else True


# Harbor: Create Tag Retention Rules of its documentation, src/pkg/retention, src/lib/selector.


def harbor(document: Mapping[str, Any], world: World) -> Removed:
    removed: Removed = set()
    rules = [rule for rule in document["rules"] if not rule.get("disabled")]
    for repository in world.repositories:
        name = repository.partition("/")[2]
        mine = [rule for rule in rules if harbor_names(rule, name)]
        if not mine:
            continue
        artifacts = world.counted(repository)
        retained: set[str] = set()
        for rule in mine:
            chosen = artifacts
            for selector in rule["tag_selectors"]:
                chosen = [one for one in chosen if harbor_selects(selector, one)]
            retained |= harbor_retains(rule, chosen, world.now)
        for item in artifacts:
            if item.name not in retained:
                removed |= whole(repository, item)
    return removed


def harbor_names(rule: Mapping[str, Any], name: str) -> bool:
    return all(
        doublestar(one["pattern"], name) == (one["decoration"] == "repoMatches")
        for one in rule["scope_selectors"]["repository"]
    )


def harbor_selects(selector: Mapping[str, Any], item: Item) -> bool:
    excludes: bool = selector["decoration"] == "excludes"
    untagged: bool = selector.get("untagged", not excludes)
    if not item.tags:
        return untagged != excludes
    matches = [doublestar(selector["pattern"] or "**", tag) for tag in item.tags]
    return (not all(matches)) if excludes else any(matches)


def harbor_retains(rule: Mapping[str, Any], chosen: list[Item], now: float) -> set[str]:
    template = rule["template"]
    if template == "always":
        return {item.name for item in chosen}
    number = rule["params"][template]

    def active(item: Item) -> float:
        return max(item.uploaded, pulled(item))

    by = {"latestPushedK": uploaded, "latestPulledN": pulled, "latestActiveK": active}
    if template in by:
        return {item.name for item in chosen if newer(item, chosen, by[template]) < number}
    since = {"nDaysSinceLastPush": uploaded, "nDaysSinceLastPull": pulled}[template]
    return {item.name for item in chosen if since(item) >= now - number * DAY}


# GitLab: reduce_container_registry_storage of its documentation, cleanup_tags_base_service.rb.


def between(expression: str) -> re.Pattern[str]:
    r"""``\A`` + the expression + ``\z``; Python wants flags at the beginning."""
    flags = "(?i)" if expression.startswith("(?i)") else ""
    return re.compile(rf"{flags}\A{expression.removeprefix('(?i)')}\Z")


def gitlab(document: Mapping[str, Any], world: World, *, metadata: bool) -> Removed:
    removed: Removed = set()
    if not document["enabled"] or not document.get("name_regex_delete"):
        return removed
    delete = between(document["name_regex_delete"])
    keep = between(document.get("name_regex_keep") or "")
    for repository, items in world.repositories.items():
        times = {
            tag: time if metadata else item.created
            for item in items
            for tag, time in item.tags.items()
            if tag != "latest" and delete.search(tag) and not keep.search(tag)
        }
        for tag, time in times.items():
            most, age = document.get("keep_n"), document.get("older_than")
            if most and newer(tag, times, times.__getitem__) < most:
                continue
            if age and not time < world.now - float(age[:-1]) * DAY:
                continue
            removed.add((repository, tag))
    return removed


# Quay: Auto-pruning of its documentation, data/model/autoprune.py.


def quay(document: list[Mapping[str, Any]], world: World) -> Removed:
    removed: Removed = set()
    for policy in document:
        pattern, matches = policy.get("tagPattern"), policy.get("tagPatternMatches", True)
        for repository, items in world.repositories.items():
            times = {
                tag: time
                for item in items
                for tag, time in item.tags.items()
                if not pattern or (re.search(pattern, tag) is not None) == matches
            }
            for tag, time in times.items():
                if policy["method"] == "number_of_tags":
                    goes = newer(tag, times, times.__getitem__) >= policy["value"]
                else:
                    goes = time < world.now - seconds(policy["value"])
                if goes:
                    removed.add((repository, tag))
    return removed


# Gitea: usage/packages/storage of its documentation, services/packages/cleanup.


def gitea(document: list[Mapping[str, Any]], world: World, *, long_day: bool) -> Removed:
    removed: Removed = set()
    for rule in document:
        keep, remove = rule.get("keep_pattern"), rule.get("remove_pattern")
        for repository, items in world.repositories.items():
            versions = {tag: time for item in items for tag, time in item.tags.items()}
            digests = {item.name for item in items}
            if world.counts_all:
                versions |= {item.name: item.uploaded for item in items if not item.tags}
            for tag, time in versions.items():
                if newer(tag, versions, versions.__getitem__) < rule.get("keep_count", 0):
                    continue
                if tag == "latest" or tag in digests:
                    continue
                if keep and re.search(rf"(?i)\A{keep}\Z", tag.lower()):
                    continue
                days = rule.get("remove_days", 0)
                if days and time > world.now - days * DAY - 3600 * long_day:
                    continue
                if remove and not re.search(rf"(?i)\A{remove}\Z", tag.lower()):
                    continue
                removed.add((repository, tag))
    return removed


MODELS: Mapping[str, tuple[Callable[[Any, World], Removed], ...]] = {
    "ecr": (ecr,),
    "gar": (google,),
    "acr": (azure,),
    "zot": (zot,),
    "harbor": (harbor,),
    "gitlab": (
        lambda document, world: gitlab(document, world, metadata=True),
        lambda document, world: gitlab(document, world, metadata=False),
    ),
    "quay": (quay,),
    "gitea": (
        lambda document, world: gitea(document, world, long_day=True),
        lambda document, world: gitea(document, world, long_day=False),
    ),
}
