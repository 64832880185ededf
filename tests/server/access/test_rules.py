"""Rules, also against a model that looks at each of them every time."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.settings import AccessRule
from jettison.server.access import AccessAction
from jettison.server.access.rules import ANONYMOUS, Permissions, Rules

ALL = frozenset(AccessAction)


def rule(users: str, repositories: str, *actions: AccessAction) -> AccessRule:
    names = frozenset[Any](action.value for action in actions or ALL)
    return AccessRule(tuple(users.split()), tuple(repositories.split()), names)


def allowed(permissions: Permissions, repository: str | None) -> set[AccessAction]:
    return {action for action in AccessAction if permissions.allow(repository, action)}


@pytest.mark.parametrize(
    ("users", "user", "matches"),
    [
        ("ann", "ann", True),
        ("ann", "Ann", False),
        ("ann", "anna", False),
        ("ann", "ann\n", False),
        ("ann bob", "bob", True),
        ("a*", "ann", True),
        ("?*", "ann", True),
        ("?*", "", False),
        ("ci-[0-9]", "ci-1", True),
        ("ci-[0-9]", "ci-x", False),
        ("*", "ann", True),
        ("*", "", True),
        ("**", "ann", True),
        ("**", "", False),
        ("anonymous", "", True),
        ("anonymous", "ann", True),
        ("anon*", "", False),
        ("[", "[", True),
        ("a.b", "axb", False),
    ],
)
def test_who_is_meant(users: str, user: str, matches: bool) -> None:
    assert allowed(Rules([rule(users, "*")]).of(user), "x") == (set(ALL) if matches else set())


@pytest.mark.parametrize(
    ("users", "matches"), [("anonymous", True), ("*", False), ("?*", False), ("a*", False)]
)
def test_who_is_meant_without_a_login_where_there_are_logins(users: str, matches: bool) -> None:
    assert bool(allowed(Rules([rule(users, "*")]).anonymous, "x")) == matches


@pytest.mark.parametrize(
    ("repositories", "repository", "matches"),
    [
        ("team/*", "team/app", True),
        ("team/*", "team/app/deep", True),
        ("team/*", "team", False),
        ("team/*", "teams/app", False),
        ("team/*", "my/team/app", False),
        ("team", "team/app", False),
        ("team team/*", "team", True),
        ("*", "any/thing", True),
        ("*/public", "team/public", True),
        ("team.app", "team-app", False),
    ],
)
def test_where(repositories: str, repository: str, matches: bool) -> None:
    found = Rules([rule("*", repositories)]).of("ann")
    assert allowed(found, repository) == (set(ALL) if matches else set())
    assert found.show(repository) == matches


def test_rules_add_up() -> None:
    rules = Rules(
        [
            rule("*", "team/*", AccessAction.PULL),
            rule("ci-*", "team/*", AccessAction.PUSH),
            rule("ann", "team/app", AccessAction.DELETE),
        ]
    )
    assert allowed(rules.of("ann"), "team/app") == {AccessAction.PULL, AccessAction.DELETE}
    assert allowed(rules.of("ann"), "team/web") == {AccessAction.PULL}
    assert allowed(rules.of("ci-1"), "team/app") == {AccessAction.PULL, AccessAction.PUSH}
    assert allowed(rules.of("ci-1"), "other") == set()


@pytest.mark.parametrize(
    ("repositories", "actions", "registry", "shown"),
    [
        ("*", {AccessAction.ADMIN}, {AccessAction.PULL, AccessAction.ADMIN}, True),
        ("team/*", {AccessAction.ADMIN}, {AccessAction.PULL}, True),
        ("team/*", {AccessAction.PULL}, {AccessAction.PULL}, True),
        ("*", {AccessAction.PULL}, {AccessAction.PULL}, True),
        ("team/*", {AccessAction.PUSH}, set(), False),
        ("team/*", {AccessAction.DELETE}, set(), False),
    ],
)
def test_the_registry_itself(
    repositories: str, actions: set[AccessAction], registry: set[AccessAction], shown: bool
) -> None:
    found = Rules([rule("ann", repositories, *actions)]).of("ann")
    assert allowed(found, None) == registry
    assert found.show("team/app") == shown
    assert allowed(Rules([rule("ann", repositories, *actions)]).of("bob"), None) == set()


def test_admin_of_some_repositories_shows_them_and_no_others() -> None:
    found = Rules([rule("ann", "team/*", AccessAction.ADMIN)]).of("ann")
    assert found.show("team/app")
    assert not found.show("other")
    assert not found.allow("team/app", AccessAction.PULL)


NAMES = st.text("ab/-1", min_size=1, max_size=5)
PATTERNS = st.text("ab/-1*?[]!", min_size=1, max_size=5) | st.sampled_from(["*", "a*", "b/*"])
USERS = PATTERNS | st.just(ANONYMOUS)
RULES = st.lists(
    st.builds(
        AccessRule,
        st.lists(USERS, max_size=3).map(tuple),
        st.lists(PATTERNS, max_size=3).map(tuple),
        st.frozensets(st.sampled_from([action.value for action in AccessAction])),
    ),
    max_size=5,
)


def model(rules: list[AccessRule], user: str, repository: str, action: AccessAction) -> bool:
    for each in rules:
        who = any(
            pattern in {"*", "anonymous"} or (user != "" and fnmatchcase(user, pattern))
            for pattern in each.users
        )
        where = any(fnmatchcase(repository, pattern) for pattern in each.repositories)
        if who and where and action.value in each.actions:
            return True
    return False


@given(RULES, st.lists(NAMES | st.just(""), min_size=1, max_size=3), NAMES)
def test_as_a_model_has_it(rules: list[AccessRule], users: list[str], repository: str) -> None:
    subject = Rules(rules)
    for user in (*users, *users):
        found = subject.of(user)
        for action in AccessAction:
            assert found.allow(repository, action) == model(rules, user, repository, action)
        pulls, manages = (
            model(rules, user, repository, each) for each in (AccessAction.PULL, AccessAction.ADMIN)
        )
        assert found.show(repository) == (pulls or manages)
        assert found.allow(None, AccessAction.PULL) or not found.show(repository)
    named = [each for each in rules if ANONYMOUS in each.users]
    for action in AccessAction:
        assert subject.anonymous.allow(repository, action) == model(named, "", repository, action)


@given(RULES, RULES, NAMES | st.just(""), NAMES)
def test_more_rules_never_take_away(
    some: list[AccessRule], more: list[AccessRule], user: str, repository: str
) -> None:
    before = allowed(Rules(some).of(user), repository)
    assert before <= allowed(Rules(some + more).of(user), repository)


def test_users_are_remembered_within_bounds() -> None:
    rules = Rules([rule("user1*", "*", AccessAction.PULL)])
    for number in range(3000):
        assert bool(allowed(rules.of(f"user{number}"), "x")) == str(number).startswith("1")
    assert len(vars(rules)["_known"]) <= 1024
