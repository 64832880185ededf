"""What is asked of a client, as the client of this project understands it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.client.auth import parse_challenges
from jettison.model.names import RepoName
from jettison.server.access import AccessAction, Wanted
from jettison.server.access.challenges import Login, basic_login, bearer_token, challenge, scope

A, B = RepoName("a"), RepoName("b/c")


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope", "error"]), st.text()))
def test_whatever_the_settings_hold_a_header_comes_of_it(parameters: dict[str, str]) -> None:
    text = challenge("Bearer", parameters)
    raw = text.encode("latin-1")
    assert not any(byte < 0x20 or byte == 0x7F for byte in raw)
    [found] = parse_challenges([text])
    assert found.scheme == "bearer"
    for name, value in found.parameters.items():
        expected = "".join(c if c.isprintable() else " " for c in parameters[name])
        assert value.encode("latin-1").decode() == expected
    assert found.parameters.keys() == {name for name, value in parameters.items() if value}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], ""),
        ([Wanted(None, ())], ""),
        ([Wanted(A, ())], ""),
        ([Wanted(A, (AccessAction.PULL,))], "repository:a:pull"),
        ([Wanted(A, (AccessAction.PULL, AccessAction.PUSH))], "repository:a:pull,push"),
        ([Wanted(B, (AccessAction.DELETE,))], "repository:b/c:delete"),
        ([Wanted(B, (AccessAction.ADMIN,))], "repository:b/c:*"),
        ([Wanted(None, (AccessAction.PULL,))], "registry:catalog:*"),
        ([Wanted(None, (AccessAction.PULL, AccessAction.ADMIN))], "registry:catalog:*"),
        (
            [Wanted(A, (AccessAction.PULL, AccessAction.PUSH)), Wanted(B, (AccessAction.PULL,))],
            "repository:a:pull,push repository:b/c:pull",
        ),
        (
            [Wanted(A, (AccessAction.PULL,)), Wanted(A, (AccessAction.PUSH, AccessAction.PULL))],
            "repository:a:pull,push",
        ),
    ],
)
def test_scopes(wanted: list[Wanted], expected: str) -> None:
    assert scope(wanted) == expected


def test_a_login_shows_no_password() -> None:
    login = basic_login("Basic YW5uOnNlY3JldDp4")
    assert login == Login("ann", b"secret:x")
    assert repr(login) == "Login('ann')"
    assert str(login) == "Login('ann')"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer  ", None),
        ("Basic x", None),
        ("Bearer x", "x"),
        ("bearer  x ", "x"),
        ("Bearer x y", "x y"),
    ],
)
def test_bearer_tokens(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token
