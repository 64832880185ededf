"""The guard without logins, and grants."""

import subprocess
import sys

import pytest

from jettison.configuration.settings import AccessRule
from jettison.model.names import RepoName
from jettison.server.access import AccessAction, Grant, Wanted, make_guard

REPO = RepoName("team/app")


@pytest.mark.parametrize("authorization", [None, "", "Basic !!", "Bearer x.y.z"])
async def test_without_a_login_everybody_may_do_everything(authorization: str | None) -> None:
    guard = make_guard(None, ())
    grant = await guard.admit(authorization, [Wanted(REPO, tuple(AccessAction)), Wanted(None, ())])
    assert grant.user == ""
    assert all(
        grant.allows(repository, action) for repository in (REPO, None) for action in AccessAction
    )
    assert grant.sees(REPO)
    assert grant.sees_all
    assert await guard.admit(None, []) is grant


async def test_rules_bind_also_without_a_login() -> None:
    rules = [AccessRule(("*",), ("team/*",), frozenset({"pull"}))]
    grant = await make_guard(None, rules).admit(
        None, [Wanted(REPO, (AccessAction.PULL, AccessAction.PUSH))]
    )
    assert grant.allows(REPO, AccessAction.PULL)
    assert not grant.allows(REPO, AccessAction.PUSH)
    assert not grant.allows("other", AccessAction.PULL)
    assert grant.sees(REPO)
    assert not grant.sees("other")
    assert not grant.sees_all
    assert grant.allows(None, AccessAction.PULL)


def test_a_grant_is_what_all_its_bounds_allow() -> None:
    class Bounds:
        def __init__(self, *names: str | None) -> None:
            self.names = names

        def allow(self, repository: str | None, action: AccessAction) -> bool:
            return action is AccessAction.PULL and repository in self.names

        def show(self, repository: str) -> bool:
            return repository in self.names

    grant = Grant("me", [Bounds("a", "b", None), Bounds("b", "c", None)])
    assert [grant.allows(name, AccessAction.PULL) for name in ("a", "b", "c", None)] == [
        *(False, True, False, True)
    ]
    assert [grant.sees(name) for name in ("a", "b", "c")] == [False, True, False]
    assert not grant.allows("b", AccessAction.PUSH)
    assert not grant.sees_all


def test_no_library_for_passwords_or_keys_is_loaded_without_a_login() -> None:
    code = (
        "import sys; from jettison.server.access import make_guard; make_guard(None, ());"
        "print([m for m in ('bcrypt', 'jwt', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
