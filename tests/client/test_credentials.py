"""Where logins are found, kept and forgotten."""

import base64
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from jettison.client import Credentials, CredentialStore
from jettison.errors import ConfigurationError, UsageError
from jettison.model.names import RepoName

HOST = "registry.example.com:5000"


def auth(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    environment = {"PATH": str(tmp_path / "bin"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    return CredentialStore(environment, tmp_path / "me")


def having(store: CredentialStore, **environment: str) -> CredentialStore:
    return CredentialStore({**store.environment, **environment}, store.home, uid=store.uid)


def user(found: Credentials | None) -> str | None:
    return None if found is None else found.username


# -- where -------------------------------------------------------------------------------------


def test_the_files_in_their_order(tmp_path: Path) -> None:
    home = Path("/h")
    assert CredentialStore({}, home).files() == [
        home / ".config/containers/auth.json",
        home / ".docker/config.json",
    ]
    assert CredentialStore({}, home, uid=0).files()[0] == Path("/run/containers/0/auth.json")
    everything = {"XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}
    assert CredentialStore(everything, home, uid=0).files() == [
        Path("/r/containers/auth.json"),
        Path("/c/containers/auth.json"),
        Path("/d/config.json"),
    ]
    named = CredentialStore({**everything, "REGISTRY_AUTH_FILE": "/named"}, home)
    assert named.files() == [Path("/named")]
    given = CredentialStore(dict(named.environment), home, tmp_path / "given")
    assert given.files() == [tmp_path / "given"]


def test_the_first_file_that_has_the_host_wins(store: CredentialStore) -> None:
    files = store.files()
    assert store.find(HOST) is None
    for number in range(len(files) - 1, -1, -1):
        write(files[number], {"auths": {HOST: auth(f"user-{number}")}})
        assert user(store.find(HOST)) == f"user-{number}"
    write(files[0], {"auths": {"other.example.com": auth("other")}})
    assert user(store.find(HOST)) == "user-1"


def test_a_named_file_is_the_only_one(store: CredentialStore, tmp_path: Path) -> None:
    write(store.files()[-1], {"auths": {HOST: auth("docker")}})
    named = tmp_path / "named.json"
    assert having(store, REGISTRY_AUTH_FILE=str(named)).find(HOST) is None
    write(named, {"auths": {HOST: auth("named")}})
    assert user(having(store, REGISTRY_AUTH_FILE=str(named)).find(HOST)) == "named"
    absent = CredentialStore(store.environment, store.home, tmp_path / "absent.json")
    with pytest.raises(ConfigurationError, match=r"no credentials file .*absent\.json"):
        absent.find(HOST)


def test_of_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG")
    assert CredentialStore.of_user().default_file() == home / ".docker" / "config.json"
    assert "PATH" not in repr(CredentialStore.of_user())


# -- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "host", "repository", "found"),
    [
        (HOST, HOST, None, True),
        (HOST, HOST, "team/app", True),
        (f"https://{HOST}", HOST, None, True),
        (f"https://{HOST}/v1/", HOST, None, True),
        (f"http://{HOST}/v2", HOST, None, True),
        (f"{HOST}/v2/", HOST, None, True),
        (f"{HOST}/", HOST, None, True),
        (f"{HOST}/team", HOST, "team/app", True),
        (f"{HOST}/team/app", HOST, "team/app", True),
        (f"{HOST}/team", HOST, None, False),
        (f"{HOST}/team", HOST, "team2/app", False),
        (f"{HOST}/team/app", HOST, "team", False),
        ("registry.example.com", HOST, None, False),
        (f"evil.{HOST}", HOST, None, False),
        ("https://index.docker.io/v1/", "docker.io", None, True),
        ("https://index.docker.io/v1/", "registry-1.docker.io", None, True),
    ],
)
def test_keys(
    store: CredentialStore, key: str, host: str, repository: str | None, found: bool
) -> None:
    write(store.default_file(), {"auths": {key: auth("me")}})
    name = None if repository is None else RepoName(repository)
    assert user(store.find(host, name)) == ("me" if found else None)


def test_the_longest_key_wins(store: CredentialStore) -> None:
    keys = [HOST, f"{HOST}/team", f"{HOST}/team/app"]
    write(store.default_file(), {"auths": {key: auth(key.replace(":", "")) for key in keys}})
    for repository, index in (("team/app", 2), ("team/app/x", 2), ("team/b", 1), ("b", 0)):
        found = user(store.find(HOST, RepoName(repository)))
        assert found == keys[index].replace(":", "")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("me", "a:b"), Credentials("me", "a:b")),
        (auth("me", "pw\0\0"), Credentials("me", "pw")),
        (auth("mé", "pässwörd"), Credentials("mé", "pässwörd")),
        ({"username": "me", "password": "pw"}, Credentials("me", "pw")),
        ({**auth("me"), "identitytoken": "t"}, Credentials("me", "pw", "t")),
        ({"identitytoken": "t"}, Credentials("", "", "t")),
        ({"auth": None}, None),
        ({}, None),
    ],
)
def test_entries(
    store: CredentialStore, entry: dict[str, str], expected: Credentials | None
) -> None:
    write(store.default_file(), {"auths": {HOST: entry}})
    assert store.find(HOST) == expected


# -- bad files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": {"s3cret": ',
        "[]",
        '"s3cret"',
        '{"auths": []}',
        '{"auths": "s3cret"}',
        '{"credHelpers": ["s3cret"]}',
        f'{{"auths": {{"{HOST}": "s3cret"}}}}',
        f'{{"auths": {{"{HOST}": {{"auth": "s3cret!"}}}}}}',
        f'{{"auths": {{"{HOST}": {{"auth": "czNjcmV0"}}}}}}',
        f'{{"auths": {{"{HOST}": {{"auth": 7}}}}}}',
        '{"credsStore": "../s3cret"}',
        '{"credsStore": {"s3cret": 1}}',
        "\udcff s3cret",
        "[" * 100_000,
    ],
)
def test_a_malformed_file_is_named_and_not_shown(store: CredentialStore, text: str) -> None:
    path = store.default_file()
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigurationError) as caught:
        store.find(HOST)
    assert str(path) in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_another_hosts_malformed_entry_does_not_matter(store: CredentialStore) -> None:
    write(store.default_file(), {"auths": {"other": {"auth": "!"}, HOST: auth("me")}})
    assert user(store.find(HOST)) == "me"


def test_an_empty_file_is_no_error(store: CredentialStore) -> None:
    store.default_file().parent.mkdir(parents=True)
    store.default_file().touch()
    assert store.find(HOST) is None


def test_a_folder_instead_of_a_file(store: CredentialStore) -> None:
    store.default_file().mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="cannot read"):
        store.find(HOST)


# -- saving ------------------------------------------------------------------------------------


def test_saved_is_found_again(store: CredentialStore) -> None:
    me = Credentials("me", "pä:ss")
    assert store.save(HOST, me) == str(store.default_file())
    assert store.find(HOST) == me
    token = Credentials("me", "", "identity")
    store.save(HOST, token)
    assert store.find(HOST) == token


def test_saving_keeps_what_it_does_not_know(store: CredentialStore) -> None:
    path = store.default_file()
    old = {
        "psFormat": "table",
        "auths": {"other": auth("o"), f"https://{HOST}/v1/": auth("old")},
        "plugins": {"x": {"y": "ü"}},
    }
    write(path, old)
    path.chmod(0o644)
    store.save(HOST, Credentials("me", "pw"))
    now = json.loads(path.read_text(encoding="utf-8"))
    assert now == {**old, "auths": {"other": auth("o"), HOST: auth("me")}}
    assert list(now) == list(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]


def test_a_new_file_is_private(store: CredentialStore) -> None:
    before = os.umask(0)
    try:
        store.save(HOST, Credentials("me", "pw"))
    finally:
        os.umask(before)
    path = store.default_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_stays_a_link(store: CredentialStore, tmp_path: Path) -> None:
    real = write(tmp_path / "dotfiles" / "docker.json", {"a": 1})
    path = store.default_file()
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    store.save(HOST, Credentials("me", "pw"))
    assert path.is_symlink()
    assert json.loads(real.read_text(encoding="utf-8"))["a"] == 1


def test_a_malformed_file_is_not_overwritten(store: CredentialStore) -> None:
    path = store.default_file()
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        store.save(HOST, Credentials("me", "pw"))
    assert path.read_text(encoding="utf-8") == "{"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "file", {})
    store = CredentialStore({"DOCKER_CONFIG": str(tmp_path / "file")}, tmp_path)
    with pytest.raises(ConfigurationError, match="cannot write"):
        store.save(HOST, Credentials("me", "pw"))


def test_a_colon_in_a_user_name(store: CredentialStore) -> None:
    with pytest.raises(UsageError, match="colon"):
        store.save(HOST, Credentials("me:you", "pw"))


# -- forgetting --------------------------------------------------------------------------------


def test_erased_everywhere(store: CredentialStore) -> None:
    files = store.files()
    for path in files:
        write(
            path, {"auths": {HOST: auth("me"), f"{HOST}/team": auth("t"), "o": auth("o")}, "k": 1}
        )
    assert store.erase(HOST) == [str(path) for path in files]
    for path in files:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document == {"auths": {f"{HOST}/team": auth("t"), "o": auth("o")}, "k": 1}
    assert store.erase(HOST) == []


# -- helpers -----------------------------------------------------------------------------------

HELPER = """#!{python}
import json, pathlib, sys
file = pathlib.Path({state!r})
kept = json.loads(file.read_text()) if file.exists() else {{}}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text.strip() not in kept:
        sys.exit(print("credentials not found in native keychain") or 1)
    print(json.dumps(kept[text.strip()]))
elif sys.argv[1] == "store":
    entry = json.loads(text)
    kept[entry["ServerURL"]] = entry
elif sys.argv[1] == "erase":
    del kept[text.strip()]
file.write_text(json.dumps(kept))
"""


def helper(store: CredentialStore, name: str, text: str) -> None:
    program = Path(store.environment["PATH"]) / f"docker-credential-{name}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)


@pytest.fixture
def keychain(store: CredentialStore, tmp_path: Path) -> Path:
    state = tmp_path / "keychain.json"
    helper(store, "chain", HELPER.format(python=sys.executable, state=str(state)))
    return state


@pytest.mark.parametrize("settings", [{"credsStore": "chain"}, {"credHelpers": {HOST: "chain"}}])
def test_a_helper_keeps_the_secret(
    store: CredentialStore, keychain: Path, settings: dict[str, Any]
) -> None:
    path = write(store.default_file(), {**settings, "auths": {HOST: auth("old", "plain")}})
    assert user(store.find(HOST)) == "old"
    me = Credentials("me", "s3cret")
    assert store.save(HOST, me) == "docker-credential-chain"
    assert store.find(HOST) == me
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {**settings, "auths": {}}
    assert json.loads(keychain.read_text(encoding="utf-8"))[HOST]["Secret"] == "s3cret"
    assert store.erase(HOST) == ["docker-credential-chain"]
    assert store.find(HOST) is None
    assert store.erase(HOST) == []


def test_an_identity_token_in_a_helper(store: CredentialStore, keychain: Path) -> None:
    write(store.default_file(), {"credsStore": "chain"})
    store.save(HOST, Credentials("", identity_token="t"))
    assert json.loads(keychain.read_text(encoding="utf-8"))[HOST]["Username"] == "<token>"
    assert store.find(HOST) == Credentials("", identity_token="t")


def test_a_hosts_own_helper_comes_first(store: CredentialStore, keychain: Path) -> None:
    write(store.default_file(), {"credsStore": "chain"})
    store.save(HOST, Credentials("store", "pw"))
    assert keychain.exists()
    helper(store, "own", '#!/bin/sh\necho \'{"Username": "own", "Secret": "pw"}\'\n')
    write(store.default_file(), {"credsStore": "chain", "credHelpers": {HOST: "own"}})
    assert user(store.find(HOST)) == "own"


def test_a_missing_helper_is_named(store: CredentialStore) -> None:
    write(store.default_file(), {"credsStore": "absent"})
    for action in (lambda: store.find(HOST), lambda: store.save(HOST, Credentials("a", "b"))):
        with pytest.raises(ConfigurationError, match="docker-credential-absent"):
            action()


@pytest.mark.parametrize(
    "body", ["echo s3cret; exit 1", "echo s3cret", 'echo \'{"Secret": "s3cret"}\'', "exit 3"]
)
def test_a_failing_helper_is_named_and_not_quoted(store: CredentialStore, body: str) -> None:
    helper(store, "bad", f"#!/bin/sh\n{body}\n")
    write(store.default_file(), {"credsStore": "bad"})
    with pytest.raises(ConfigurationError, match="docker-credential-bad failed") as caught:
        store.find(HOST)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_a_helper_that_hangs(store: CredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jettison.client.credentials._HELPER_SECONDS", 0.1)
    helper(store, "slow", "#!/bin/sh\nexec /bin/sleep 20\n")
    write(store.default_file(), {"credsStore": "slow"})
    with pytest.raises(ConfigurationError, match="docker-credential-slow does not answer"):
        store.find(HOST)


def test_a_helper_that_is_no_program(store: CredentialStore) -> None:
    helper(store, "odd", "\x7fELF nonsense")
    write(store.default_file(), {"credsStore": "odd"})
    with pytest.raises(ConfigurationError, match="cannot run docker-credential-odd"):
        store.find(HOST)


def test_a_secret_does_not_show() -> None:
    secret = Credentials("me", "s3cret", "t0ken")
    for text in (repr(secret), str(secret), f"{secret}"):
        assert text == "Credentials(username='me')"
