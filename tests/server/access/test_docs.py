"""The examples of docs/access.md do what is said there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from jettison.configuration import Configuration, read_configuration
from jettison.model.names import RepoName
from jettison.server.access import AccessAction, Guard, Unauthorized, Wanted, make_guard
from jettison.server.access.rules import Rules
from tests.server.access.signing import bundle, claims, signer, token
from tests.server.access.test_basic import header
from tests.support.missing import need

DOCUMENT = Path(__file__).parents[3] / "docs" / "access.md"
FOLDER = "/etc/jettison"
PUBLIC = RepoName("public/app")


def blocks(language: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


def read(folder: Path, *sections: str) -> Configuration:
    """The configuration of these sections; what the document keeps in FOLDER is in `folder`."""
    path = folder / "config.yml"
    start = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
    path.write_text(start + "".join(sections).replace(FOLDER, str(folder)))
    found = read_configuration(path, {}, "serving")
    assert found.warnings == ()
    return found


def make_file(folder: Path) -> None:
    need("htpasswd")
    [commands] = blocks("")
    for line in commands.replace(FOLDER, str(folder)).splitlines():
        program, *rest = shlex.split(line)
        subprocess.run([program, "-b", *rest, "secret"], check=True, capture_output=True)


def test_every_example_is_tried_here() -> None:
    assert (len(blocks("yaml")), len(blocks(""))) == (4, 1)


async def test_the_password_file(tmp_path: Path) -> None:
    passwords, _, rules, _ = blocks("yaml")
    make_file(tmp_path)
    guard = make_guard(read(tmp_path, passwords).auth, ())
    assert (await guard.admit(header("ada", "secret"), [])).user == "ada"
    config = read(tmp_path, passwords, rules)
    assert (await make_guard(config.auth, config.access).admit(header("build", "secret"), [])).user


async def test_tokens(tmp_path: Path) -> None:
    _, tokens, _, _ = blocks("yaml")
    bundle(tmp_path / "tokens.pem", signer("rsa"))
    guard = make_guard(read(tmp_path, tokens).auth, ())
    good = claims(iss="tokens.example.com", aud="registry.example.com")
    grant = await guard.admit(f"Bearer {token(signer('rsa'), good)}", [])
    assert grant.allows("team/app", AccessAction.PULL)


@pytest.mark.parametrize(
    ("user", "repository", "expected"),
    [
        ("grace", "team/app", {AccessAction.PULL}),
        ("build", "team/app", {AccessAction.PULL, AccessAction.PUSH, AccessAction.OVERWRITE}),
        ("ci-7", "team/app", {AccessAction.PULL, AccessAction.PUSH}),
        ("build", "team", {AccessAction.PULL}),
        ("ada", "any", set(AccessAction)),
    ],
)
def test_rules(tmp_path: Path, user: str, repository: str, expected: set[AccessAction]) -> None:
    passwords, _, rules, _ = blocks("yaml")
    found = Rules(read(tmp_path, passwords, rules).access).of(user)
    assert {action for action in AccessAction if found.allow(repository, action)} == expected
    assert found.allow(None, AccessAction.ADMIN) == (user == "ada")


async def test_pulling_without_a_login(tmp_path: Path) -> None:
    passwords, _, _, rules = blocks("yaml")
    make_file(tmp_path)
    config = read(tmp_path, passwords, rules)
    guard: Guard = make_guard(config.auth, config.access)
    pull = [Wanted(PUBLIC, (AccessAction.PULL,))]
    grant = await guard.admit(None, pull)
    assert [grant.sees(name) for name in ("public/app", "team/app")] == [True, False]
    await guard.admit(None, [Wanted(None, (AccessAction.PULL,))])
    for sent, wanted in (
        (None, [Wanted(None, ())]),
        (None, [Wanted(PUBLIC, (AccessAction.PULL, AccessAction.PUSH))]),
        (None, [Wanted(RepoName("team/app"), (AccessAction.PULL,))]),
        (header("ada", "wrong"), pull),
    ):
        with pytest.raises(Unauthorized):
            await guard.admit(sent, wanted)
    ada = await guard.admit(header("ada", "secret"), pull)
    assert ada.allows("team/app", AccessAction.PUSH)
