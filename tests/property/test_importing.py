"""What an imported policy removes, the original would have removed: tried on models of it.

Policies and registries are random, with few tags and few times, so that equal times, several tags
of an image, lists that have to match together, and rules that meet the same image are common. Some
of the times are hidden from the import, and none from the model.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettison.configuration.policy_file import parse_policy
from jettison.configuration.policy_import import import_policy, write_imported
from jettison.model.names import Tag
from jettison.model.retention.decide import Decider
from jettison.model.retention.evidence import Evidence, Moment, Times, known_created
from jettison.model.retention.policy import Policy
from tests.model.retention.building import NOW, Repository, digest_of
from tests.model.retention.originals import DAY, MODELS, Item, Purge, Removed, World
from tests.support.examples import examples

TAGS = ("latest", "main", "prod", "prod-1", "prod-2", "dev-1", "dev-2", "v1", "v1.1", "v10", "pr-7")
EXPRESSIONS = (
    *(".*", "^v", "^v1$", "prod", "-1$", "dev|pr", "^dev|1$", "(?:dev|pr).*", "(v.+|main.*)", "v1"),
    *("v.+|main", "^(dev|pr)-", r"\d", r"v\d+(\.\d+)?", "(?i)PROD.*", "(?!v).*", "x{2"),
)
GLOBS = ("**", "*", "v*", "prod*", "{dev,pr}-*", "v1", "*-1", "*1*", "", "v?", "[dp]*-?", "{a,{b}}")
DAYS = st.sampled_from([0.0, 0.5, 1.0, 1.02, 2.0, 2.0, 2.02, 3.0, 5.0, 7.0, 10.0])
COUNTS = st.integers(1, 3)
REPOSITORIES: Mapping[str, Sequence[str]] = {
    "gar": ("proj/repo/app", "proj/repo/web/front"),
    "harbor": ("proj/app", "proj/web/app", "other/app"),
    "zot": ("app", "infra/app", "infra/app/x", "tmp"),
    "acr": ("app", "web/app", "web"),
}


# Registries.


@st.composite
def items(draw: st.DrawFn) -> tuple[Item, ...]:
    count = draw(st.integers(2, 7))
    which = st.sampled_from(TAGS)
    tagged = draw(st.dictionaries(which, st.integers(0, count - 1), min_size=count, max_size=9))
    found = []
    for number in range(count):
        tags = {tag: NOW - draw(DAYS) * DAY for tag, of in tagged.items() if of == number}
        uploaded = draw(DAYS)
        lower = st.integers(0, number - 1).map("m{}".format) if number else None
        children: list[str] = []
        subject = None
        if lower is not None and draw(st.integers(0, 3)) == 0:
            children = draw(st.lists(lower, max_size=2, unique=True))
        if lower is not None and not children and draw(st.integers(0, 5)) == 0:
            subject = draw(lower | st.just("gone"))
        created = draw(st.sampled_from([uploaded, uploaded + 3, -1.0, 20000.0]) | DAYS)
        pull = draw(st.none() | DAYS)
        found.append(
            Item(
                f"m{number}",
                tags,
                NOW - uploaded * DAY,
                NOW - created * DAY,
                NOW - draw(st.floats(0, uploaded)) * DAY,
                None if pull is None else NOW - pull * DAY,
                tuple(children),
                subject,
            )
        )
    return tuple(found)


@st.composite
def worlds(draw: st.DrawFn, names: Sequence[str]) -> World:
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    return World({name: draw(items()) for name in chosen}, NOW, draw(st.booleans()))


class Told:
    """What is told of a world: some times are not, and pulls only since a time."""

    def __init__(self, watching: float | None, hidden: frozenset[str]) -> None:
        self.watching = watching
        self.hidden = hidden

    def __repr__(self) -> str:
        return f"Told(watching={self.watching}, hidden={sorted(self.hidden)})"

    def repository(self, name: str, items: Sequence[Item]) -> tuple[Repository, Evidence]:
        made = Repository(name)
        for item in items:
            made.add(item.name, *item.tags, children=item.children, subject=item.subject)
        tags = {
            Tag(tag): Times(pushed=self._moment(f"{item.name} pushed", time))
            for item in items
            for tag, time in item.tags.items()
        }
        raw = {digest_of(item.name): Moment(item.created, "test") for item in items}
        created = known_created(raw, NOW)
        manifests = {
            digest_of(item.name): Times(
                self._moment(f"{item.name} pushed", item.uploaded),
                self._moment(f"{item.name} untagged", item.untagged),
                created.get(digest_of(item.name)),
                self._pull(item),
            )
            for item in items
        }
        return made, Evidence(tags, manifests, self.watching)

    def _moment(self, name: str, seconds: float) -> Moment | None:
        return None if name in self.hidden else Moment(seconds, "test")

    def _pull(self, item: Item) -> Moment | None:
        if item.pulled is None or (self.watching is not None and item.pulled >= self.watching):
            return None if item.pulled is None else Moment(item.pulled, "test")
        return self._moment(f"{item.name} pulled", item.pulled)


@st.composite
def tellings(draw: st.DrawFn) -> Told:
    watching = draw(st.none() | st.sampled_from([0.0, 3.0, 8.0, 30.0]))
    whats = st.sampled_from(["pushed", "untagged", "pulled"])
    names = st.builds(lambda number, what: f"m{number} {what}", st.integers(0, 6), whats)
    hidden = draw(st.frozensets(names, max_size=4))
    return Told(None if watching is None else NOW - watching * DAY, hidden)


def removed_by(policy: Policy, world: World, told: Told) -> Removed:
    decider = Decider(policy, NOW)
    found: Removed = set()
    for name, some in world.repositories.items():
        repository, evidence = told.repository(name, some)
        names = {digest_of(item.name): item.name for item in some}
        for one in decider.decide(repository.snapshot, evidence).decisions:
            if one.removed:
                found.add((name, one.tag or names[one.digest]))
    return found


# Policies.


def optional(draw: st.DrawFn, **members: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A section of which each member may be missing."""
    return {key: draw(kind) for key, kind in members.items() if draw(st.booleans())}


@st.composite
def ecr_policies(draw: st.DrawFn) -> Any:
    rules = []
    prefixes = st.sampled_from(["prod", "prod-", "v", "v1", "dev", "latest", "main", "x"])
    globs = st.sampled_from(["prod*", "*1", "v*", "*-*", "latest", "*", "v1*0", "dev-2"])
    for priority in range(1, draw(st.integers(1, 4)) + 1):
        status = draw(st.sampled_from(["tagged", "tagged", "tagged", "untagged", "any"]))
        selection: dict[str, Any] = {"tagStatus": status}
        if status == "tagged":
            key, of = draw(
                st.sampled_from([("tagPrefixList", prefixes), ("tagPatternList", globs)])
            )
            size = draw(st.sampled_from([1, 1, 1, 2]))
            selection[key] = draw(st.lists(of, min_size=size, max_size=size))
        count = draw(st.booleans())
        selection["countType"] = "imageCountMoreThan" if count else "sinceImagePushed"
        selection["countNumber"] = draw(st.sampled_from([1, 1, 2, 3, 9999]))
        if not count:
            selection["countUnit"] = "days"
        action = {"type": "expire"}
        if draw(st.integers(0, 7)) == 0:
            action = {"type": "transition", "targetStorageClass": "archive"}
        rules.append({"rulePriority": priority, "selection": selection, "action": action})
        if status == "any":
            break
    return {"rules": draw(st.permutations(rules))}


@st.composite
def google_policies(draw: st.DrawFn) -> Any:
    policies = []
    durations = st.sampled_from(["1d", "172800s", "5d", "72h"])
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Delete", "Keep"]))
        policy: dict[str, Any] = {"name": f"p{number}", "action": {"type": kind}}
        packages = st.lists(st.sampled_from(["app", "web", "w"]), min_size=1, max_size=2)
        if kind == "Keep" and draw(st.booleans()):
            policy["mostRecentVersions"] = {
                "keepCount": draw(COUNTS),
                **optional(draw, packageNamePrefixes=packages),
            }
        else:
            prefixes = st.sampled_from(["v", "v1", "prod", "latest", "dev"])
            versions = [str(digest_of("m0")), str(digest_of("m1")), str(digest_of("m1"))[:10]]
            policy["condition"] = optional(
                draw,
                tagState=st.sampled_from(["tagged", "untagged", "any", "TAGGED"]),
                tagPrefixes=st.lists(prefixes, min_size=1, max_size=2),
                olderThan=durations,
            )
            if draw(st.integers(0, 3)) == 0:
                policy["condition"] |= optional(
                    draw,
                    packageNamePrefixes=packages,
                    newerThan=durations,
                    versionNamePrefixes=st.lists(st.sampled_from(versions), min_size=1),
                )
        policies.append(policy)
    return policies


@st.composite
def purges(draw: st.DrawFn) -> Purge:
    names = st.sampled_from(["app", ".*", "web.*", "web/app", "app|web"])
    expressions = st.sampled_from([one for one in EXPRESSIONS if "(?" not in one])
    filters = draw(st.lists(st.tuples(names, expressions), min_size=1, max_size=2))
    ago = draw(st.sampled_from([0, 1, 2, 3, 5])) * DAY
    return Purge(tuple(filters), ago, draw(st.integers(0, 3)), draw(st.booleans()))


@st.composite
def zot_policies(draw: st.DrawFn) -> Any:
    times = st.sampled_from(["24h", "48h", "72h", "168h"])
    repositories = st.sampled_from(["**", "infra/*", "infra/**", "app", "{app,tmp}", "*", "tmp/**"])
    expressions = st.sampled_from([one for one in EXPRESSIONS if one not in {"(?!v).*", "x{2"}])
    policies = []
    for _ in range(draw(st.integers(0, 3))):
        entries = [
            optional(
                draw,
                patterns=st.lists(expressions, max_size=2),
                pushedWithin=times,
                pulledWithin=times,
                mostRecentlyPushedCount=COUNTS,
                mostRecentlyPulledCount=COUNTS,
            )
            for _ in range(draw(st.integers(0, 2)))
        ]
        policies.append(
            {
                "repositories": draw(st.lists(repositories, min_size=1, max_size=2)),
                "keepTags": entries,
                **optional(draw, deleteUntagged=st.booleans(), deleteReferrers=st.booleans()),
            }
        )
    retention = {"policies": policies, **optional(draw, delay=times)}
    return {"storage": {"rootDirectory": "/x", "retention": retention}}


@st.composite
def harbor_policies(draw: st.DrawFn) -> Any:
    rules = []
    for number in range(draw(st.integers(1, 3))):
        template = draw(
            st.sampled_from(
                [
                    *("latestPushedK", "latestPulledN", "latestActiveK"),
                    *("nDaysSinceLastPush", "nDaysSinceLastPull", "always"),
                ]
            )
        )
        selectors = []
        for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
            selector = {
                "kind": "doublestar",
                "decoration": draw(st.sampled_from(["matches", "matches", "excludes"])),
                "pattern": draw(st.sampled_from([one for one in GLOBS if one != "{a,{b}}"])),
            }
            selectors.append(selector | optional(draw, untagged=st.booleans()))
        scope = {
            "kind": "doublestar",
            "decoration": draw(st.sampled_from(["repoMatches", "repoMatches", "repoExcludes"])),
            "pattern": draw(st.sampled_from(["**", "app", "web/**", "*", "{app,web}"])),
        }
        rules.append(
            {
                "id": number,
                "disabled": draw(st.integers(0, 5)) == 0,
                "action": "retain",
                "template": template,
                "params": {template: draw(st.integers(0, 3))},
                "tag_selectors": selectors,
                "scope_selectors": {"repository": [scope]},
            }
        )
    return {"algorithm": "or", "rules": rules}


@st.composite
def gitlab_policies(draw: st.DrawFn) -> Any:
    expressions = st.sampled_from([one for one in EXPRESSIONS if one not in {"(?!v).*", "x{2"}])
    return {
        "enabled": draw(st.integers(0, 9)) > 0,
        "name_regex_delete": draw(st.just(".*") | expressions),
        **optional(
            draw,
            keep_n=COUNTS,
            older_than=st.sampled_from(["1d", "2d", "5d"]),
            name_regex_keep=expressions,
        ),
    }


@st.composite
def quay_policies(draw: st.DrawFn) -> Any:
    policies = []
    expressions = st.sampled_from([one for one in EXPRESSIONS if one != "x{2"])
    for _ in range(draw(st.integers(1, 2))):
        policy: dict[str, Any] = {"method": "number_of_tags", "value": draw(COUNTS)}
        if draw(st.booleans()):
            ages = st.sampled_from(["1d", "48h", "1w"])
            policy = {"method": "creation_date", "value": draw(ages).replace("1w", "7d")}
        policies.append(
            policy | optional(draw, tagPattern=expressions, tagPatternMatches=st.booleans())
        )
    return policies


@st.composite
def gitea_policies(draw: st.DrawFn) -> Any:
    expressions = st.sampled_from([one for one in EXPRESSIONS if one not in {"(?!v).*", "x{2"}])
    plain = expressions.filter(lambda one: not one.startswith("(?i)"))
    rule = optional(
        draw,
        keep_count=st.integers(0, 3),
        keep_pattern=plain,
        remove_days=st.integers(0, 5),
        remove_pattern=plain,
    )
    rules = [{"enabled": True, "type": "container", "keep_count": 0, **rule}]
    if draw(st.booleans()):
        rules.append({"enabled": True, "remove_days": 1, "remove_pattern": draw(plain)})
    return rules


POLICIES: Mapping[str, Callable[[], st.SearchStrategy[Any]]] = {
    "ecr": ecr_policies,
    "gar": google_policies,
    "acr": purges,
    "zot": zot_policies,
    "harbor": harbor_policies,
    "gitlab": gitlab_policies,
    "quay": quay_policies,
    "gitea": gitea_policies,
}
ATTACHED = {"gar": "proj/repo", "harbor": "proj"}


def written(document: Any) -> bytes:
    """A policy as the system's users write it."""
    if isinstance(document, Purge):
        filters = " ".join(f"--filter '{name}:{tags}'" for name, tags in document.filters)
        days = int(document.ago / DAY)
        keep = f" --keep {document.keep}" if document.keep else ""
        return (
            f"acr purge {filters} --ago {days}d{keep}{' --untagged' * document.untagged}".encode()
        )
    text = json.dumps(document)
    # Harbor's selectors have JSON in JSON.
    for value in ("true", "false"):
        text = text.replace(f'"untagged": {value}', f'"extras": "{{\\"untagged\\": {value}}}"')
    return text.encode()


def imported(system: str, document: Any, attached: bool = False) -> Policy:
    name = ATTACHED.get(system) if attached else None
    found = import_policy(written(document), "file", system, name)
    again = parse_policy(write_imported(found, "file"), "policy.yml")
    assert again == found.policy
    return again


@st.composite
def cases(draw: st.DrawFn, system: str) -> tuple[Any, World, Told, bool]:
    world = draw(worlds(REPOSITORIES.get(system, ("team/app", "team/web"))))
    attached = draw(st.booleans()) and all(
        name.startswith(f"{ATTACHED.get(system, '')}/") for name in world.repositories
    )
    return draw(POLICIES[system]()), world, draw(tellings()), attached


@pytest.mark.parametrize("system", POLICIES)
def test_import_removes_nothing_that_the_original_would_keep(system: str) -> None:
    removals = 0

    # Most of what is drawn for zot keeps everything; of few examples, none may remove two things.
    @settings(examples(150 if system == "zot" else 60), suppress_health_check=list(HealthCheck))
    @given(cases(system))
    def holds(case: tuple[Any, World, Told, bool]) -> None:
        nonlocal removals
        document, world, told, attached = case
        found = removed_by(imported(system, document, attached), world, told)
        removals += len(found) > 1
        for model in MODELS[system]:
            assert found <= model(document, world), imported(system, document, attached)

    holds()
    assert removals > 0, "it would hold for an import that removes nothing, too"
